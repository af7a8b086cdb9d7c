import assert from "node:assert/strict";
import { createMetrics } from "./metrics.ts";

Deno.test("metrics render as Prometheus text", () => {
  const metrics = createMetrics();
  metrics.counter("accepted_total", "Messages in the log").value += 3;
  const refused = metrics.counters("refused_total", "By reason", { labels: ["wire", "reason"] });
  refused.of("mqtt", 'bad "path"\n').value += 1;
  refused.of("mqtt", 'bad "path"\n').value += 1;
  metrics.gauge("connections", "Open\nnow", () => 7);
  const latency = metrics.histogram("ack_ms", "To the ack", [1, 2.5]);
  for (const value of [0.5, 1, 2, 99]) latency.observe(value);
  assert.equal(
    metrics.render(),
    `# HELP roost_accepted_total Messages in the log
# TYPE roost_accepted_total counter
roost_accepted_total 3
# HELP roost_refused_total By reason
# TYPE roost_refused_total counter
roost_refused_total{wire="mqtt",reason="bad \\"path\\"\\n"} 2
# HELP roost_connections Open\\nnow
# TYPE roost_connections gauge
roost_connections 7
# HELP roost_ack_ms To the ack
# TYPE roost_ack_ms histogram
roost_ack_ms_bucket{le="1"} 2
roost_ack_ms_bucket{le="2.5"} 3
roost_ack_ms_bucket{le="+Inf"} 4
roost_ack_ms_sum 102.5
roost_ack_ms_count 4
`,
  );
});

Deno.test("a family that is full counts the rest as other", () => {
  const metrics = createMetrics();
  const family = metrics.counters("x_total", "x", { labels: ["device"], seriesMax: 2 });
  for (let device = 0; device < 1_000; device++) family.of(`device-${device}`).value += 1;
  assert.deepEqual(metrics.render().split("\n").slice(2), [
    'roost_x_total{device="device-0"} 1',
    'roost_x_total{device="device-1"} 1',
    'roost_x_total{device="other"} 998',
    "",
  ]);
});

Deno.test("a quantile is the bound of its bucket", () => {
  const histogram = createMetrics().histogram("x_ms", "x", [1, 2, 4]);
  for (let at = 0; at < 98; at++) histogram.observe(1.5);
  histogram.observe(3);
  histogram.observe(9);
  assert.deepEqual([0.5, 0.99, 1].map((share) => histogram.quantile(share)), [2, 4, Infinity]);
});

Deno.test("values are refreshed before a render and names are checked", () => {
  const metrics = createMetrics();
  const gauge = metrics.gauges("rss_bytes", "Memory", { labels: ["process"] }).of("engine");
  metrics.beforeRender(() => gauge.value = 42);
  assert.match(metrics.render(), /roost_rss_bytes\{process="engine"\} 42/);
  assert.throws(() => metrics.gauge("rss_bytes", "again"), /new snake_case name/);
  assert.throws(() => metrics.counter("Bad-Name", "x"), /new snake_case name/);
  assert.throws(() => metrics.histogram("y", "y", [2, 1]), /rise/);
});
