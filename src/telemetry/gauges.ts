import { Gauge, type Registry } from "prom-client";

/** What is read when the page is asked for, as metrics of one registry. */
export class Gauges {
  readonly #registry: Registry;

  constructor(registry: Registry) {
    this.#registry = registry;
  }

  /** A gauge that is read when the page is asked for. */
  one(name: string, help: string, read: () => number): void {
    new Gauge({
      name: `codomain_${name}`,
      help,
      registers: [this.#registry],
      collect() {
        this.set(read());
      },
    });
  }

  /** A gauge per value of its labels; what `read` no longer gives is gone. The caller bounds the values. */
  many<L extends string>(
    name: string,
    help: string,
    labelNames: readonly L[],
    read: () => Iterable<{ readonly labels: Readonly<Record<L, string>>; readonly value: number }>,
  ): void {
    new Gauge({
      name: `codomain_${name}`,
      help,
      labelNames: [...labelNames],
      registers: [this.#registry],
      collect() {
        this.reset();
        for (const { labels, value } of read()) this.set(labels as Parameters<typeof this.set>[0] & object, value);
      },
    });
  }
}
