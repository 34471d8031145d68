import pytest
from hypothesis import given
from hypothesis import strategies as st

from obsvty.evidence.stack import parse_stack

PYTHON = """Traceback (most recent call last):
  File "/srv/shop/app/cards.py", line 21, in validate
    r = session.post(url)
        ^^^^^^^^^^^^^^^^^
  File "/srv/shop/app/net.py", line 4, in post
KeyError: 'x'

The above exception was the direct cause of the following exception:

Traceback (most recent call last):
  File "/srv/shop/app/checkout.py", line 9, in checkout
shop.CheckoutFailed: no
"""
JAVASCRIPT = """TypeError: Cannot read properties of undefined
    at validate (/srv/app/src/cards.ts:23:11)
    at async Promise.all (index 0)
    at process.processTicksAndRejections (node:internal/process/task_queues:95:5)
    at new Checkout (file:///srv/app/checkout.mjs:7:2)
    at /srv/app/main.js:1:2"""
JAVA = """java.lang.IllegalStateException: no
	at com.shop.Checkout.run(Checkout.java:9)
	at java.base/java.lang.Thread.run(Thread.java:833)
Caused by: java.io.IOException: closed
	at com.shop.cards.CardValidator$Call.validate(CardValidator.java:23)
	at com.shop.cards.CardsKt.check(Cards.kt:4)
	... 3 more"""
GO = """panic: runtime error: index out of range

goroutine 1 [running]:
main.validate(0xc000012, {0x1, 0x2})
	/srv/app/cards.go:23 +0x1d
example.com/shop/cards.(*Checker).Check(...)
	/srv/app/cards/check.go:10
created by main.main in goroutine 1
	/srv/app/main.go:5 +0x1d"""
CSHARP = """System.Exception: no
   at Shop.Cards.Validate(String card, Func`1 check) in /src/Shop/Cards.cs:line 23
   at Shop.Checkout.Run() in /src/Shop/Checkout.cs:line 9"""
RUBY = """/srv/app/cards.rb:23:in `validate': bad (RuntimeError)
	from /srv/app/checkout.rb:9:in 'Checkout#run'"""
RUST = """thread 'main' panicked at src/cards.rs:23:5:
boom
stack backtrace:
   0: shop::cards::validate
             at ./src/cards.rs:23:5
   1: shop::main
             at ./src/main.rs:9:5"""
PHP = """PHP Fatal error:  Uncaught Exception: no in /srv/app/src/Cards.php:23
Stack trace:
#0 /srv/app/src/Checkout.php(9): Cards->validate('x')
#1 {main}
  thrown in /srv/app/src/Cards.php on line 23"""


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            PYTHON,
            [
                ("/srv/shop/app/net.py", 4, "post"),
                ("/srv/shop/app/cards.py", 21, "validate"),
                ("/srv/shop/app/checkout.py", 9, "checkout"),
            ],
        ),
        (
            JAVASCRIPT,
            [
                ("/srv/app/src/cards.ts", 23, "validate"),
                ("/srv/app/checkout.mjs", 7, "Checkout"),
                ("/srv/app/main.js", 1, ""),
            ],
        ),
        (
            JAVA,
            [
                ("com/shop/cards/CardValidator.java", 23, "CardValidator$Call.validate"),
                ("com/shop/cards/Cards.kt", 4, "CardsKt.check"),
                ("com/shop/Checkout.java", 9, "Checkout.run"),
                ("java/lang/Thread.java", 833, "Thread.run"),
            ],
        ),
        (
            GO,
            [
                ("/srv/app/cards.go", 23, "main.validate"),
                ("/srv/app/cards/check.go", 10, "cards.(*Checker).Check"),
                ("/srv/app/main.go", 5, "main.main"),
            ],
        ),
        (
            CSHARP,
            [
                ("/src/Shop/Cards.cs", 23, "Shop.Cards.Validate"),
                ("/src/Shop/Checkout.cs", 9, "Shop.Checkout.Run"),
            ],
        ),
        (RUBY, [("/srv/app/cards.rb", 23, "validate"), ("/srv/app/checkout.rb", 9, "Checkout#run")]),
        (
            RUST,
            [("src/cards.rs", 23, ""), ("./src/cards.rs", 23, "validate"), ("./src/main.rs", 9, "main")],
        ),
        (PHP, [("/srv/app/src/Cards.php", 23, ""), ("/srv/app/src/Checkout.php", 9, "")]),
    ],
    ids=["python", "javascript", "java", "go", "csharp", "ruby", "rust", "php"],
)
def test_frames_come_innermost_first_with_the_root_cause_before_what_wrapped_it(
    text: str, expected: list[tuple[str, int, str]]
) -> None:
    assert [(frame.file, frame.line, frame.function) for frame in parse_stack(text)] == expected


def test_recursion_is_one_frame_with_a_count() -> None:
    text = "Traceback (most recent call last):\n" + '  File "/a/b.py", line 3, in f\n' * 500
    assert [(frame.line, frame.count) for frame in parse_stack(text)] == [(3, 500)]


@given(st.text())
def test_any_text_is_read_without_an_error(text: str) -> None:
    assert all(frame.source == "stack" and frame.line >= 0 for frame in parse_stack(text))
