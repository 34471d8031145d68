"""What the OTLP specification asks of a receiver, word for word, and the tests that hold this one to it.

Words in double quotes are those of opentelemetry-proto 1.11.0 (docs/specification.md and the comments of its .proto
files); the rest says what this receiver does where the specification leaves it open. All tests run against a receiver
that listens, most of them with a real store behind it. The last tests here hold table and functions together.
"""

import ast
from dataclasses import dataclass
from pathlib import Path

import pytest

HERE = Path(__file__).parent
# Every test of these modules is named by an obligation
HELD = ("test_grpc", "test_http", "test_limits", "test_protocol", "test_python_sdk", "test_stored")
TOPICS = ("protocol", "size", "retry", "back-pressure", "json", "values", "ours")


@dataclass(frozen=True, kw_only=True)
class Obligation:
    """`tests` are "module::function", without the module's `test_`."""

    id: str
    words: str
    tests: tuple[str, ...]

    @property
    def topic(self) -> str:
        return self.id.partition(".")[0]


def must(name: str, words: str, *tests: str) -> Obligation:
    return Obligation(id=name, words=words, tests=tests)


OBLIGATIONS = (
    # What is received, and how it is answered
    must(
        "protocol.signals", "traces, metrics and logs are Stable, binary and JSON",
        "grpc::test_the_sdk_exporters_arrive", "http::test_the_sdk_exporters_arrive",
        "python_sdk::test_spans_with_every_type_of_attribute_events_and_links_arrive_equal",
        "python_sdk::test_logs_with_every_type_of_attribute_and_body_arrive_equal",
        "python_sdk::test_metrics_of_every_instrument_arrive_equal",
        "node::test_everything_of_the_node_sdk_arrives",
    ),
    must(
        "protocol.profiles", "profiles are in Development, /v1development/profiles: UNIMPLEMENTED and 404",
        "grpc::test_other_services_are_unimplemented", "http::test_an_error_is_a_protobuf_status",
        "protocol::test_every_error_has_a_status_in_the_content_type_of_the_request",
    ),
    must(
        "protocol.paths",
        'gRPC on 4317, HTTP on 4318: POST /v1/traces, /v1/metrics, /v1/logs; others "MAY be configured"',
        "protocol::test_the_usual_ports_and_both_content_types_on_one_port",
        "http::test_success_is_an_empty_message_in_the_content_type_of_the_request",
    ),
    must(
        "protocol.compression", '"All server components MUST support" none and gzip; zstd beside them over HTTP',
        "grpc::test_the_sdk_exporters_arrive", "http::test_every_encoding_in_one_piece_or_chunked",
    ),
    must(
        "protocol.response-size", '"The server MUST limit the size of the response"',
        "protocol::test_every_answer_is_short",
    ),
    must(
        "protocol.success",
        '"MUST respond with HTTP 200 OK" and Export...ServiceResponse; "MUST leave the partial_success field unset"',
        "grpc::test_success_and_an_empty_request_are_answered_with_an_empty_message",
        "http::test_success_is_an_empty_message_in_the_content_type_of_the_request",
        "protocol::test_full_success_leaves_partial_success_unset_and_no_service_name_is_a_warning",
    ),
    must(
        "protocol.partial",
        '"MUST initialize the partial_success field"; "MUST set" rejected_spans etc.; "SHOULD populate error_message"',
        "grpc::test_spans_without_valid_ids_are_rejected_one_by_one",
        "http::test_invalid_spans_are_rejected_one_by_one",
    ),
    must(
        "protocol.warning", "full success may carry rejected = 0 with a non-empty error_message",
        "protocol::test_full_success_leaves_partial_success_unset_and_no_service_name_is_a_warning",
        "protocol::test_a_warning_is_in_json_too_and_beside_what_was_rejected",
    ),
    must(
        "protocol.empty", 'an empty request "SHOULD respond with success"; empty envelopes "MAY" be ignored',
        "grpc::test_success_and_an_empty_request_are_answered_with_an_empty_message",
        "protocol::test_empty_envelopes_are_a_success_without_a_warning_and_store_nothing",
    ),
    must(
        "protocol.error-body",
        '"body for all HTTP 4xx and HTTP 5xx responses MUST be a Protobuf-encoded Status"',
        "http::test_an_error_is_a_protobuf_status",
        "protocol::test_every_error_has_a_status_in_the_content_type_of_the_request",
    ),
    must(
        "protocol.bad-data",
        'bad data "MUST respond with HTTP 400 Bad Request", BadRequest in Status.details; gRPC INVALID_ARGUMENT',
        "grpc::test_bytes_that_are_not_otlp_are_invalid_argument",
        "grpc::test_gzip_bytes_that_are_no_gzip_do_not_reach_the_store",
        "http::test_an_error_is_a_protobuf_status", "http::test_an_error_is_json_for_json",
    ),
    must(
        "protocol.content-type", '"MUST use the same Content-Type in the response as it received"',
        "http::test_success_is_an_empty_message_in_the_content_type_of_the_request",
        "protocol::test_every_error_has_a_status_in_the_content_type_of_the_request",
    ),
    must(
        "protocol.one-port", '"SHOULD accept" binary and JSON on the same port, by Content-Type',
        "protocol::test_the_usual_ports_and_both_content_types_on_one_port",
    ),
    must(
        "protocol.connections", 'clients "SHOULD keep the connection alive"; chunked bodies; Expect: 100-continue',
        "http::test_a_connection_is_kept_for_many_requests", "http::test_every_encoding_in_one_piece_or_chunked",
        "http::test_a_client_that_expects_100_continue_gets_it",
        "http::test_a_client_that_leaves_in_the_middle_stores_nothing",
    ),
    must(
        "protocol.duplicates",
        'resending "may result in duplicate data on the server side": what was refused and sent again is there once',
        "protocol::test_a_full_store_answers_retryably_and_takes_the_same_request_later_once",
        "import::test_an_import_that_was_killed_is_run_again_and_has_each_request_once",
    ),
    must(
        "protocol.concurrency", 'clients "SHOULD send new requests without waiting"',
        "grpc::test_many_calls_at_once_all_arrive", "http::test_many_clients_at_once_all_arrive",
    ),
    must(
        "protocol.token", "not in the specification: a bearer token on both transports",
        "grpc::test_a_token_is_asked_for_and_compared", "http::test_a_token_is_asked_for_and_compared",
    ),
    must(
        "protocol.tls", "not in the specification: TLS, and certificates of clients (mTLS)",
        "grpc::test_tls_is_spoken_with_a_certificate", "http::test_tls_is_spoken_with_a_certificate",
        "http::test_a_certificate_that_cannot_be_used_is_refused_before_listening",
        "protocol::test_with_an_authority_only_clients_that_it_signed_may_call_over_grpc",
        "protocol::test_with_an_authority_only_clients_that_it_signed_may_send_over_http",
        "protocol::test_an_authority_that_cannot_be_used_is_refused_before_listening",
    ),
    must(
        "protocol.cors", "not in the specification: browsers ask first, with content-type and authorization",
        "http::test_pages_of_an_allowed_origin_may_send_and_others_may_not",
    ),
    # How large a request may be
    must(
        "size.limit",
        '"MUST enforce a message size limit when receiving the request, including after decompression"',
        "grpc::test_the_size_limit_counts_after_decompression",
        "http::test_a_request_above_the_limit_is_413_and_a_bomb_is_not_inflated",
        "limits::test_a_bomb_over_http_costs_its_limit_and_not_its_size",
        "limits::test_a_bomb_over_grpc_costs_its_limit_and_not_its_size",
    ),
    must(
        "size.default", '"it is RECOMMENDED to use 64 MiB", "SHOULD allow this limit to be configured"',
        "limits::test_the_default_limit_is_64_mib_on_both_transports",
    ),
    must(
        "size.grpc", 'RESOURCE_EXHAUSTED "as a non-retryable error": without RetryInfo',
        "grpc::test_the_size_limit_counts_after_decompression",
        "limits::test_a_bomb_over_grpc_costs_its_limit_and_not_its_size",
    ),
    must(
        "size.http", '"MUST respond with HTTP 413 Content Too Large"',
        "http::test_a_request_above_the_limit_is_413_and_a_bomb_is_not_inflated",
        "http::test_a_chunked_body_without_end_is_413",
        "http::test_a_client_that_sends_far_too_much_can_still_read_its_413",
    ),
    # Which answers make a client drop its data
    must(
        "retry.store", 'UNKNOWN and INTERNAL are final, other 5xx "MUST NOT be retried": a store hiccup is neither',
        "grpc::test_a_store_that_cannot_take_it_is_unavailable_with_both_kinds_of_retry_info",
        "http::test_a_store_that_cannot_take_it_is_503_with_retry_after",
    ),
    must(
        "retry.clients", "UNAVAILABLE and 503 are retryable, and the SDK does retry",
        "grpc::test_the_sdk_tries_again_after_an_overload", "http::test_the_sdk_tries_again_after_an_overload",
    ),
    # Too much at once
    must(
        "back-pressure.answer",
        '"SHOULD return" Unavailable "and MAY supply RetryInfo"; "MAY include" Retry-After, "a number of seconds"',
        "grpc::test_a_store_that_cannot_take_it_is_unavailable_with_both_kinds_of_retry_info",
        "http::test_a_store_that_cannot_take_it_is_503_with_retry_after",
    ),
    must(
        "back-pressure.bounded", "pending bytes are bounded; the delay is 1 to 2 s; nothing acknowledged is lost",
        "protocol::test_a_full_store_answers_retryably_and_takes_the_same_request_later_once",
    ),
    must(
        "back-pressure.durable", '"successfully accepted" is on disk',
        "protocol::test_what_was_acknowledged_survives_a_kill",
    ),
    must(
        "back-pressure.validate", "validated before the acknowledgement: afterwards bad bytes cannot be refused",
        "grpc::test_bytes_that_are_not_otlp_are_invalid_argument", "http::test_an_error_is_a_protobuf_status",
    ),
    # OTLP/JSON
    must(
        "json.ids", '"case-insensitive hex-encoded strings; they are not base64-encoded"',
        "protocol::test_json_ids_are_hex_in_either_case_and_other_bytes_are_base64",
    ),
    must(
        "json.numbers",
        '"only integer enum values"; 64-bit integers: "either numbers or strings are accepted when decoding"',
        "protocol::test_json_enums_are_integers_and_64_bit_integers_are_text_or_numbers",
    ),
    must(
        "json.names", '"receivers MUST ignore message fields with unknown names"; "Original field names are not valid"',
        "protocol::test_json_names_that_are_unknown_or_original_field_names_are_ignored",
    ),
    # Values and ids
    must(
        "values.any", '"consumers are expected to accept" empty values, bytes, mixed arrays and kvlists everywhere',
        "stored::test_maps_and_arrays_are_json_text_and_bytes_are_hex",
        "stored::test_an_empty_key_an_unset_value_and_nul_characters_are_kept",
        "python_sdk::test_spans_with_every_type_of_attribute_events_and_links_arrive_equal",
    ),
    must(
        "values.strindex", "*_strindex outside of profiles: as good as absent",
        "protocol::test_fields_of_the_profiles_signal_are_as_good_as_absent",
    ),
    must(
        "values.ids", 'all zeroes or another length "is considered invalid"; an empty parent is a root',
        "stored::test_invalid_ids_of_spans_are_rejected_and_of_logs_and_exemplars_left_out",
        "grpc::test_spans_without_valid_ids_are_rejected_one_by_one",
    ),
    must(
        "values.keys", '"Attribute keys MUST be unique": doubled ones arrive all the same; a look-up gives the first',
        "stored::test_of_doubled_keys_all_are_kept_and_a_look_up_gives_the_first",
    ),
    must(
        "values.flags", '"Readers MUST NOT assume that bits 10-31 ... will be zero"',
        "protocol::test_all_32_bits_of_flags_are_kept",
    ),
    must(
        "values.times", "times are unsigned 64-bit nanoseconds, 0 = unknown; from 2^63 on NULL, and so the duration",
        "stored::test_times_that_are_unknown_or_too_late_are_null_and_an_end_before_the_start_is_negative",
        "stored::test_numbers_of_metrics_beyond_what_a_column_holds_are_null_and_the_rest_is_exact",
    ),
    must(
        "values.logs",
        "a log's time may be 0 (then observed_time); severity_number 0 is allowed; event_name is a field",
        "protocol::test_a_log_without_a_time_takes_the_observed_one_and_severity_0_and_event_names_are_kept",
    ),
    must(
        "values.dropped", "every count of what was dropped has a column",
        "stored::test_what_a_scope_dropped_is_counted_in_every_table",
        "coverage::test_setting_a_field_changes_the_tables",
    ),
    # What nobody asks for, and people need
    must(
        "ours.listen", "an address that cannot be used is refused at start, with a hint",
        "grpc::test_a_taken_port_is_refused_with_a_hint", "http::test_a_taken_port_is_refused_with_a_hint",
        "grpc::test_a_wrong_address_is_refused",
    ),
    must(
        "ours.stop", "stopping finishes what is in flight and waits for nobody else",
        "grpc::test_stop_lets_a_call_in_flight_finish_and_is_harmless_twice",
        "http::test_stop_lets_a_request_in_flight_finish_and_is_harmless_twice",
        "http::test_stop_does_not_wait_for_idle_connections",
    ),
)  # fmt: skip


def functions(module: str) -> set[str]:
    tree = ast.parse((HERE / f"{module}.py").read_text(encoding="utf-8"))
    return {
        node.name for node in tree.body if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    }


@pytest.mark.parametrize("obligation", OBLIGATIONS, ids=lambda obligation: obligation.id)
def test_every_obligation_has_tests_that_exist(obligation: Obligation) -> None:
    assert obligation.tests
    for test in obligation.tests:
        module, _, name = test.partition("::")
        assert name in functions(f"test_{module}"), test
    assert obligation.topic in TOPICS
    assert obligation.words


def test_every_topic_has_obligations_and_no_id_is_used_twice() -> None:
    assert {obligation.topic for obligation in OBLIGATIONS} == set(TOPICS)
    ids = [obligation.id for obligation in OBLIGATIONS]
    assert len(set(ids)) == len(ids)


@pytest.mark.parametrize("module", HELD)
def test_every_test_of_the_protocol_serves_an_obligation(module: str) -> None:
    named = {test for obligation in OBLIGATIONS for test in obligation.tests}
    served = {name for name in functions(module) if f"{module.removeprefix('test_')}::{name}" in named}
    assert functions(module) - served == set()
