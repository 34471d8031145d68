import pytest

from obsvty.evidence.functions import called_names, enclosing, functions_of, opened_function, short_name

PYTHON = """import os


class Cart:
    @property
    @cached
    def total(
        self,
    ) -> int:
        def inner():
            return 1

        return inner()


def validate(card):

    return card


X = 1
"""
TYPESCRIPT = """export async function checkout(cart: Cart): Promise<void> {
  await pay(cart);
}

const pay = async (cart) => {
  return 1;
};

class Shop {
  private find(id: string): Item {
    if (id) {
      return this.items[id];
    }
  }
}
"""


def test_indentation_bounds_functions_with_their_decorators_and_long_signatures() -> None:
    found = [(f.name, f.start, f.end) for f in functions_of(PYTHON)]
    assert found == [("total", 5, 13), ("inner", 10, 11), ("validate", 16, 18)]


def test_braces_close_functions_methods_and_arrow_functions() -> None:
    found = [(f.name, f.start, f.end) for f in functions_of(TYPESCRIPT)]
    assert found == [("checkout", 1, 3), ("pay", 5, 7), ("find", 10, 14)]


def test_the_innermost_function_holds_a_line_and_a_name_helps_where_the_line_does_not() -> None:
    functions = functions_of(PYTHON)
    names = [getattr(enclosing(functions, line), "name", "") for line in (5, 11, 13, 18, 21)]
    assert names == ["total", "inner", "total", "validate", ""]
    named = enclosing(functions, 99, "app.cards.validate")
    assert named is not None
    assert named.start == 16


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("def f(x):", "f"),
        ("    async def g(self):", "g"),
        ("func (c *Checker) Check(card string) error {", "Check"),
        ("pub async fn validate(card: &str) -> bool {", "validate"),
        ("  def each_line", "each_line"),
        ("    public static int add(int a, int b) {", "add"),
        ("suspend fun load(id: Long) = db.get(id)", "load"),
        ("    if (ready(x)) {", ""),
        ("    return call(x)", ""),
        ("x = {", ""),
    ],
)
def test_a_line_opens_a_function_in_many_languages(line: str, name: str) -> None:
    assert opened_function(line) == name


def test_calls_are_names_before_parentheses_but_not_the_function_being_defined() -> None:
    assert called_names("def f(x): return cards.validate(x) + len(y)") == {"validate", "len"}


@pytest.mark.parametrize(
    "name", ["shop.cards.Checker.check", "Checker#check", "cards.(*Checker).check", "a::b::check", "check"]
)
def test_a_qualified_name_ends_in_the_functions_own(name: str) -> None:
    assert short_name(name) == "check"
    assert short_name("<module>") == ""
