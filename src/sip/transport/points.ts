import { UsageError } from "../../base/errors.ts";
import type { Address } from "../../runtime/runtime.ts";
import {
  bracketed,
  canonicalHost,
  defaultPort,
  type Family,
  familyOf,
  isLoopback,
  isWildcard,
  splitHostPort,
} from "./address.ts";
import type { PointOptions } from "./options.ts";
import type { ListenPoint, TransportName } from "./transport.ts";

/** A listen point; `host`, `port` and `sentBy` are final once it is bound. */
export class Point implements ListenPoint {
  readonly index: number;
  readonly transport: TransportName;
  readonly family: Family;
  readonly direction: "up" | "down";
  readonly unknown: "refuse" | "client";
  readonly options: PointOptions;
  readonly #locals: readonly string[];
  #host: string;
  #port: number;
  #sentBy: string;

  /** @throws UsageError for a host that is no address, or a wildcard nobody could answer to. */
  constructor(index: number, options: PointOptions, localAddresses: readonly string[]) {
    this.index = index;
    this.transport = options.transport;
    this.direction = options.direction ?? "up";
    this.options = options;
    this.#host = canonicalHost(options.host);
    const family = familyOf(this.#host);
    if (family === undefined) {
      throw new UsageError(`listen point ${options.host}: give a numeric address, not a name`);
    }
    this.family = family;
    this.unknown = options.unknown ?? (isLoopback(this.#host) ? "client" : "refuse");
    this.#locals = localAddresses.map(canonicalHost).filter((each) => familyOf(each) === family);
    this.#port = options.port;
    this.#sentBy = this.#advertised();
  }

  get host(): string {
    return this.#host;
  }

  get port(): number {
    return this.#port;
  }

  get sentBy(): string {
    return this.#sentBy;
  }

  bound(local: Address): void {
    this.#port = local.port;
    this.#sentBy = this.#advertised();
  }

  /** The addresses a peer may know this point by, besides `sentBy`. */
  get hosts(): readonly string[] {
    return isWildcard(this.#host) ? this.#locals : [this.#host];
  }

  #advertised(): string {
    const given = this.options.sentBy;
    if (given !== undefined) {
      const parts = splitHostPort(given);
      if (parts === undefined) throw new UsageError(`sentBy '${given}' is no host or host:port`);
      return `${bracketed(canonicalHost(parts.host))}:${parts.port ?? this.#port}`;
    }
    if (!isWildcard(this.#host)) return `${bracketed(this.#host)}:${this.#port}`;
    const local = this.#locals.find((each) => !isLoopback(each)) ?? this.#locals[0];
    if (local === undefined) {
      throw new UsageError(`listen point ${this.#host}: say with sentBy which address peers shall answer to`);
    }
    return `${bracketed(local)}:${this.#port}`;
  }
}

/** All listen points: which one sends, and which addresses are our own. */
export class Points {
  readonly all: readonly Point[];
  readonly #own = new Set<string>();
  readonly #sentBys = new Map<string, boolean>();

  constructor(options: readonly PointOptions[], localAddresses: readonly string[]) {
    this.all = options.map((each, index) => new Point(index, each, localAddresses));
    this.refresh();
  }

  /** To be called when points were bound. */
  refresh(): void {
    this.#own.clear();
    this.#sentBys.clear();
    for (const point of this.all) {
      // Not bound yet: it has no port to be known by.
      if (point.port === 0) continue;
      for (const host of point.hosts) this.#own.add(`${host} ${point.port}`);
      const { host, port } = splitHostPort(point.sentBy)!;
      this.#own.add(`${canonicalHost(host)} ${port}`);
      // Peers on a NATed or forwarded port still come to the advertised name at the port that is bound.
      this.#own.add(`${canonicalHost(host)} ${point.port}`);
    }
  }

  /** A port left out stands for 5060 and 5061, the defaults of the sip and sips schemes. */
  isOwn(host: string, port: number | undefined): boolean {
    const name = canonicalHost(host);
    if (port !== undefined) return this.#own.has(`${name} ${port}`);
    return this.#own.has(`${name} 5060`) || this.#own.has(`${name} 5061`);
  }

  /** True for a Via `sent-by` that we write into requests (RFC 3261 18.1.2). */
  isSentBy(sentBy: string, transport: TransportName): boolean {
    const known = this.#sentBys.get(sentBy);
    if (known !== undefined) return known;
    const parts = splitHostPort(sentBy);
    if (parts === undefined) return false;
    const own = this.#own.has(`${canonicalHost(parts.host)} ${parts.port ?? defaultPort(transport)}`);
    if (own && this.#sentBys.size < 256) this.#sentBys.set(sentBy, true);
    return own;
  }

  /** The first point of that transport and address family, one that faces up before one that faces down. */
  choose(transport: TransportName, host: string): Point | undefined {
    const family = host.includes(":") ? 6 : 4;
    let down: Point | undefined;
    for (const point of this.all) {
      if (point.transport !== transport || point.family !== family) continue;
      if (point.direction === "up") return point;
      down ??= point;
    }
    return down;
  }
}
