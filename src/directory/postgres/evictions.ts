import type { Eviction, Evictions, GivenUp } from "../evictions.ts";
import { END_EVICTION } from "./end-eviction.ts";
import { LOST_LATELY } from "./lost-lately.ts";
import type { Pool } from "./pool.ts";
import { type EvictionRow, takeEvictions } from "./take-evictions.ts";

export class PostgresEvictions implements Evictions {
  readonly #pool: Pool;
  /** As CLAIM takes it. */
  servers: readonly string[] = [];

  constructor(pool: Pool) {
    this.#pool = pool;
  }

  configure(servers: readonly string[]): void {
    this.servers = servers;
  }

  async take(limit: number): Promise<{ readonly taken: readonly Eviction[]; readonly givenUp: readonly GivenUp[] }> {
    const taken: Eviction[] = [];
    const givenUp: GivenUp[] = [];
    for (const { aor, server, epoch, tries, back } of await this.#pool.run<EvictionRow>(takeEvictions(limit), [])) {
      if (epoch !== null && tries !== null) taken.push({ aor, server, epoch, tries });
      else givenUp.push({ aor, server, reason: back === true ? "back" : "too-old" });
    }
    return { taken, givenUp };
  }

  async end({ aor, server, epoch }: Eviction): Promise<void> {
    await this.#pool.run(END_EVICTION, [aor, server, epoch]);
  }

  async lostLately(server: string, limit: number): Promise<readonly string[]> {
    return (await this.#pool.run<{ aor: string }>(LOST_LATELY, [server, limit])).map((row) => row.aor);
  }
}
