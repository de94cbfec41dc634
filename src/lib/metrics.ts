/**
 * Prometheus metrics: a registry of its own (no global one), with the process and the event loop's lag in it from the
 * start. Labels stay few: no user, room or server names.
 */

import { once } from 'node:events';
import { createServer } from 'node:http';
import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client';

export interface MetricOptions<Label extends string> {
  /** Without the prefix `hammerhead_`. */
  readonly name: string;
  readonly help: string;
  readonly labels?: readonly Label[];
}

type Labels<Label extends string> = Readonly<Record<Label, string | number>>;

export interface CounterMetric<Label extends string> {
  increment(labels: Labels<Label>, by?: number): void;
}

export interface HistogramMetric<Label extends string> {
  observe(labels: Labels<Label>, value: number): void;
}

export interface Metrics {
  counter<Label extends string = never>(options: MetricOptions<Label>): CounterMetric<Label>;
  histogram<Label extends string = never>(
    options: MetricOptions<Label> & { readonly buckets: readonly number[] },
  ): HistogramMetric<Label>;
  /** `read` is asked at each scrape. */
  gauge(options: MetricOptions<never> & { readonly read: () => number }): void;
  /** The text that Prometheus scrapes. */
  render(): Promise<{ readonly contentType: string; readonly body: string }>;
}

/** Seconds: from a cached answer to a request that waits on the disk or on other servers. */
export const DURATION_BUCKETS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30] as const;

const PREFIX = 'hammerhead_';

export function createMetrics(): Metrics {
  const registry = new Registry();
  collectDefaultMetrics({ register: registry });
  const registers = [registry];
  return {
    counter({ name, help, labels = [] }) {
      const counter = new Counter({ name: PREFIX + name, help, labelNames: [...labels], registers });
      return { increment: (values, by = 1) => counter.inc(values, by) };
    },
    histogram({ name, help, labels = [], buckets }) {
      const options = { name: PREFIX + name, help, labelNames: [...labels], buckets: [...buckets], registers };
      const histogram = new Histogram(options);
      return { observe: (values, value) => histogram.observe(values, value) };
    },
    gauge({ name, help, read }) {
      const gauge: Gauge = new Gauge({ name: PREFIX + name, help, registers, collect: () => gauge.set(read()) });
    },
    async render() {
      return { contentType: registry.contentType, body: await registry.metrics() };
    },
  };
}

export interface MetricsListener extends AsyncDisposable {
  readonly url: string;
}

/** Serves `GET /metrics` on a listener of its own: what it tells is not for the public. */
export async function listenForMetrics(
  metrics: Metrics,
  place: { readonly address: string; readonly port: number },
): Promise<MetricsListener> {
  const server = createServer((request, response) => {
    if (request.url !== '/metrics') {
      response.writeHead(404).end();
      return;
    }
    metrics.render().then(
      ({ contentType, body }) => response.writeHead(200, { 'content-type': contentType }).end(body),
      () => response.writeHead(500).end(),
    );
  });
  server.listen(place.port, place.address);
  await once(server, 'listening');
  const bound = server.address();
  const port = typeof bound === 'object' && bound !== null ? bound.port : place.port;
  return {
    url: `http://${place.address.includes(':') ? `[${place.address}]` : place.address}:${port}/metrics`,
    async [Symbol.asyncDispose]() {
      const closed = once(server, 'close');
      server.close();
      server.closeAllConnections();
      await closed;
    },
  };
}
