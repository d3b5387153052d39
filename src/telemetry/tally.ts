import { Counter, Histogram, type MetricObjectWithValues, type MetricValueWithName, type Registry } from "prom-client";

/** Turns what came in into one of a bounded set of label values. */
export type Bound = (word: string) => string;

/** The words listed, and of others the first `extra`; the rest is `other`. */
export function words(known: readonly string[], extra = 0): Bound {
  const set = new Set(known);
  let left = extra;
  return (word) => {
    if (set.has(word)) return word;
    if (left <= 0 || word.length > 64) return "other";
    left--;
    set.add(word);
    return word;
  };
}

interface Branch {
  readonly next: Map<string, Branch>;
  readonly value: string;
  count: number;
}

const branch = (value: string): Branch => ({ next: new Map(), value, count: 0 });

export interface TallyOptions {
  readonly name: string;
  readonly help: string;
  /** In the order that `add` takes them. */
  readonly labels: Readonly<Record<string, Bound>>;
}

/** A counter whose counts are plain numbers in a tree of label values; prom-client sees them when it collects. */
export class Tally {
  readonly #root = branch("");
  readonly #names: readonly string[];
  readonly #bounds: readonly Bound[];

  constructor(registry: Registry, options: TallyOptions) {
    this.#names = Object.keys(options.labels);
    this.#bounds = Object.values(options.labels);
    const fill = (counter: Counter): void => {
      if (this.#names.length === 0) counter.inc(this.#root.count);
      else this.#fill(counter, this.#root, {}, 0);
    };
    new Counter({
      name: options.name,
      help: options.help,
      labelNames: [...this.#names],
      registers: [registry],
      collect() {
        this.reset();
        fill(this as Counter);
      },
    });
  }

  add(first?: string, second?: string, third?: string): void {
    let at = this.#root;
    if (first !== undefined) at = this.#step(at, first, 0);
    if (second !== undefined) at = this.#step(at, second, 1);
    if (third !== undefined) at = this.#step(at, third, 2);
    at.count++;
  }

  #step(at: Branch, word: string, level: number): Branch {
    const known = at.next.get(word);
    if (known !== undefined) return known;
    const value = this.#bounds[level]!(word);
    let next = at.next.get(value);
    if (next === undefined) {
      next = branch(value);
      at.next.set(value, next);
    }
    return next;
  }

  #fill(counter: Counter, at: Branch, labels: Readonly<Record<string, string>>, level: number): void {
    if (level === this.#names.length) {
      counter.inc(labels, at.count);
      return;
    }
    for (const next of at.next.values())
      this.#fill(counter, next, { ...labels, [this.#names[level]!]: next.value }, level + 1);
  }
}

export interface TimingsOptions {
  readonly name: string;
  readonly help: string;
  readonly label: string;
  readonly bound: Bound;
  /** Upper bounds of the buckets, in seconds, rising. */
  readonly bounds: readonly number[];
}

interface Bins {
  /** One a bucket, and a last one for what is over the highest bound; not cumulative. */
  readonly counts: Float64Array;
  sum: number;
}

/** A histogram with one label, counted in flat arrays. */
export class Timings {
  readonly #bins = new Map<string, Bins>();
  readonly #bound: Bound;
  readonly #bounds: Float64Array;

  constructor(registry: Registry, options: TimingsOptions) {
    this.#bound = options.bound;
    this.#bounds = Float64Array.from(options.bounds);
    registry.registerMetric(new FlatHistogram(options, this.#bins));
  }

  add(word: string, seconds: number): void {
    const bins = this.#bins.get(word) ?? this.#binsOf(this.#bound(word));
    const bounds = this.#bounds;
    let i = 0;
    while (i < bounds.length && seconds > bounds[i]!) i++;
    bins.counts[i]!++;
    bins.sum += seconds;
  }

  #binsOf(value: string): Bins {
    let bins = this.#bins.get(value);
    if (bins === undefined) {
      bins = { counts: new Float64Array(this.#bounds.length + 1), sum: 0 };
      this.#bins.set(value, bins);
    }
    return bins;
  }
}

/** prom-client's histogram with values of our own. */
class FlatHistogram extends Histogram<string> {
  readonly #options: TimingsOptions;
  readonly #bins: ReadonlyMap<string, Bins>;

  constructor(options: TimingsOptions, bins: ReadonlyMap<string, Bins>) {
    const { name, help, label, bounds } = options;
    super({ name, help, labelNames: [label], buckets: [...bounds], registers: [] });
    this.#options = options;
    this.#bins = bins;
  }

  override async get(): Promise<MetricObjectWithValues<MetricValueWithName<string>>> {
    const { name, help, label, bounds } = this.#options;
    const values: MetricValueWithName<string>[] = [];
    for (const [value, { counts, sum }] of this.#bins) {
      let total = 0;
      bounds.forEach((le, i) => {
        total += counts[i]!;
        values.push({ metricName: `${name}_bucket`, labels: { [label]: value, le }, value: total });
      });
      total += counts[bounds.length]!;
      values.push({ metricName: `${name}_bucket`, labels: { [label]: value, le: "+Inf" }, value: total });
      values.push({ metricName: `${name}_sum`, labels: { [label]: value }, value: sum });
      values.push({ metricName: `${name}_count`, labels: { [label]: value }, value: total });
    }
    return { name, help, type: "histogram" as never, values, aggregator: "sum", collect: () => {} };
  }

  /** What a registry asks first. */
  getForPromString(): Promise<MetricObjectWithValues<MetricValueWithName<string>>> {
    return this.get();
  }
}
