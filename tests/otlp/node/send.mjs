// node send.mjs grpc|http|proto URL [none|gzip]: sends one trace of two spans with an error, then leaves with 0 when it was accepted.
import { CompressionAlgorithm } from "@opentelemetry/otlp-exporter-base";
import { resourceFromAttributes } from "@opentelemetry/resources";
import { BatchSpanProcessor, NodeTracerProvider } from "@opentelemetry/sdk-trace-node";
import { SpanKind, SpanStatusCode } from "@opentelemetry/api";

const [transport, url, compression = "none"] = process.argv.slice(2);
const { OTLPTraceExporter } = await import(`@opentelemetry/exporter-trace-otlp-${transport}`);
const exporter = new OTLPTraceExporter({
  url,
  compression: compression === "gzip" ? CompressionAlgorithm.GZIP : CompressionAlgorithm.NONE,
});

let failure;
const send = exporter.export.bind(exporter);
exporter.export = (spans, done) =>
  send(spans, (result) => {
    failure = result.error;
    done(result);
  });

const provider = new NodeTracerProvider({
  resource: resourceFromAttributes({ "service.name": `node-${transport}` }),
  spanProcessors: [new BatchSpanProcessor(exporter)],
});
provider.register();
const tracer = provider.getTracer("obsvty-test", "1.0");
tracer.startActiveSpan("GET /notify/:id", { kind: SpanKind.SERVER, attributes: { "http.request.method": "GET" } }, (span) => {
  tracer.startActiveSpan("charge", { attributes: { tags: ["a", "b"], amount: 1.5, big: 9007199254740991 } }, (child) => {
    child.recordException(new Error("card declined"));
    child.setStatus({ code: SpanStatusCode.ERROR, message: "card declined" });
    child.end();
  });
  span.end();
});
await provider.shutdown();
if (failure) {
  console.error(failure);
  process.exit(1);
}
