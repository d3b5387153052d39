/** What a network does to what it carries. Probabilities from 0 to 1, times in milliseconds. */
export interface Faults {
  /** A datagram is lost; a piece of a stream comes late, after a retransmission. */
  readonly loss: number;
  /** One way, drawn evenly from this range for each datagram. */
  readonly delay: readonly [least: number, most: number];
  /** A datagram arrives twice. */
  readonly duplicate: number;
  /** A datagram is overtaken by those after it; without, a link keeps their order. */
  readonly reorder: number;
  /** How far behind a datagram that is overtaken may fall. */
  readonly reorderDelay: number;
  /** A write to a byte stream arrives in pieces, cut anywhere. */
  readonly split: number;
}

export const PERFECT: Faults = { loss: 0, delay: [0.5, 0.5], duplicate: 0, reorder: 0, reorderDelay: 50, split: 0.1 };

/** Which faults hold between which addresses, and who is cut off from whom. */
export class Conditions {
  #everywhere: Faults;
  readonly #links = new Map<string, Partial<Faults>>();
  readonly #groups = new Map<string, number>();

  constructor(faults: Partial<Faults>) {
    this.#everywhere = checked({ ...PERFECT, ...faults });
  }

  everywhere(faults: Partial<Faults>): void {
    this.#everywhere = checked({ ...this.#everywhere, ...faults });
  }

  link(from: string, to: string, faults: Partial<Faults>): void {
    checked({ ...this.#everywhere, ...faults });
    this.#links.set(`${from} ${to}`, faults);
  }

  partition(groups: readonly (readonly string[])[]): void {
    this.#groups.clear();
    groups.forEach((group, index) => {
      for (const address of group) this.#groups.set(address, index);
    });
  }

  heal(): void {
    this.#groups.clear();
  }

  cut(from: string, to: string): boolean {
    const one = this.#groups.get(from);
    const other = this.#groups.get(to);
    return one !== undefined && other !== undefined && one !== other;
  }

  between(from: string, to: string): Faults {
    const link = this.#links.get(`${from} ${to}`);
    return link === undefined ? this.#everywhere : { ...this.#everywhere, ...link };
  }
}

function checked(faults: Faults): Faults {
  for (const name of ["loss", "duplicate", "reorder", "split"] as const) {
    if (!(faults[name] >= 0 && faults[name] <= 1)) throw new RangeError(`${name} is a probability from 0 to 1.`);
  }
  const [least, most] = faults.delay;
  if (!(least >= 0 && most >= least)) throw new RangeError("delay is a range of milliseconds, the lesser first.");
  return faults;
}
