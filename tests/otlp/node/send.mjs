// node send.mjs grpc|http|proto TRACES_URL LOGS_URL METRICS_URL [none|gzip]
// Sends one trace of two spans, log records and one metric of each instrument, then leaves with 0 when all were accepted.
import { SpanKind, SpanStatusCode, TraceFlags } from "@opentelemetry/api";
import { SeverityNumber } from "@opentelemetry/api-logs";
import { CompressionAlgorithm } from "@opentelemetry/otlp-exporter-base";
import { resourceFromAttributes } from "@opentelemetry/resources";
import { BatchLogRecordProcessor, LoggerProvider } from "@opentelemetry/sdk-logs";
import { AggregationTemporality, AggregationType, MeterProvider, PeriodicExportingMetricReader } from "@opentelemetry/sdk-metrics";
import { BatchSpanProcessor, NodeTracerProvider } from "@opentelemetry/sdk-trace-node";

const [transport, tracesUrl, logsUrl, metricsUrl, compression = "none"] = process.argv.slice(2);
const { OTLPTraceExporter } = await import(`@opentelemetry/exporter-trace-otlp-${transport}`);
const { OTLPLogExporter } = await import(`@opentelemetry/exporter-logs-otlp-${transport}`);
const { OTLPMetricExporter } = await import(`@opentelemetry/exporter-metrics-otlp-${transport}`);
const packed = compression === "gzip" ? CompressionAlgorithm.GZIP : CompressionAlgorithm.NONE;
const resource = resourceFromAttributes({ "service.name": `node-${transport}`, cpus: 4 });
const everything = {
  text: "h\u00e9llo \u{1f600}", empty: "", true: true, false: false, int: -42, big: 9007199254740991, double: 0.1,
  texts: ["a", "b"], bools: [true, false], ints: [1, 2], doubles: [0.5, 1.5], "none left": [],
};
const more = { ...everything, bytes: new Uint8Array([0, 255]), map: { k: [1, { deep: "x" }] } };

let failure;
const watched = (exporter) => {
  const send = exporter.export.bind(exporter);
  exporter.export = (items, done) =>
    send(items, (result) => {
      failure ??= result.error;
      done(result);
    });
  return exporter;
};

const tracing = new NodeTracerProvider({
  resource,
  spanProcessors: [new BatchSpanProcessor(watched(new OTLPTraceExporter({ url: tracesUrl, compression: packed })))],
});
tracing.register();
const tracer = tracing.getTracer("obsvty-test", "1.0");
const elsewhere = { traceId: "ab".repeat(16), spanId: "cd".repeat(8), traceFlags: TraceFlags.SAMPLED, isRemote: true };
const parentOptions = {
  kind: SpanKind.SERVER,
  attributes: { "http.request.method": "GET", ...everything },
  links: [{ context: elsewhere, attributes: everything }],
};
tracer.startActiveSpan("GET /notify/:id", parentOptions, (span) => {
  span.addEvent("cache.miss", everything, [1700000000, 1]);
  tracer.startActiveSpan("charge", (child) => {
    child.recordException(new Error("card declined"));
    child.setStatus({ code: SpanStatusCode.ERROR, message: "card declined" });
    child.end();
  });
  span.end();
});

const logging = new LoggerProvider({
  resource,
  processors: [new BatchLogRecordProcessor({ exporter: watched(new OTLPLogExporter({ url: logsUrl, compression: packed })) })],
});
const logger = logging.getLogger("obsvty-test", "1.0");
const bodies = ["card declined", 3, 0.1, true, ["a", 1], { k: { n: 1 } }];
bodies.forEach((body, index) =>
  logger.emit({
    timestamp: [0, index + 1], observedTimestamp: [0, index + 101], severityNumber: SeverityNumber.ERROR,
    severityText: "ERROR", eventName: `event.${index + 1}`, body, attributes: more,
  }),
);

const metering = new MeterProvider({
  resource,
  readers: [
    new PeriodicExportingMetricReader({
      exporter: watched(
        new OTLPMetricExporter({ url: metricsUrl, compression: packed, temporalityPreference: AggregationTemporality.DELTA }),
      ),
      exportIntervalMillis: 3600000,
    }),
  ],
  views: [{ instrumentName: "size", aggregation: { type: AggregationType.EXPONENTIAL_HISTOGRAM } }],
});
const meter = metering.getMeter("obsvty-test", "1.0");
const observe = (result) => result.observe(5, { k: "o" });
meter.createCounter("checkouts", { unit: "1", description: "number of checkouts" }).add(3, { card: "visa", n: 1 });
meter.createUpDownCounter("open").add(-2);
meter.createHistogram("latency", { unit: "ms" }).record(12.5);
meter.createHistogram("size", { unit: "By" }).record(3);
meter.createGauge("temperature").record(21.5);
meter.createObservableCounter("pages").addCallback(observe);
meter.createObservableUpDownCounter("queue").addCallback(observe);
meter.createObservableGauge("load").addCallback(observe);

await Promise.all([tracing.shutdown(), logging.shutdown(), metering.shutdown()]);
if (failure) {
  console.error(failure);
  process.exit(1);
}
