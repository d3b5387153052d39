import { DirectoryUnavailable } from "../../base/errors.ts";
import type { ForkKey, OpenFork, OpenForkOutcome } from "../directory.ts";
import { GroupCommit } from "../group-commit.ts";
import {
  DROP_EXPIRED_FORKS,
  digestOf,
  FORKS_OF,
  type ForkAsk,
  type ForkRow,
  forkOf,
  OPEN_FORK,
  valuesOfForks,
} from "./open-fork.ts";
import { isConnectionFailure, type Pool } from "./pool.ts";

export interface ForksOptions {
  /** This proxy's name. */
  readonly owner: string;
  readonly maxWaiting: number;
  readonly soon: (run: () => void) => void;
}

const TRIES = 5;

/** The forks that are open. Those opened together share a statement. */
export class PostgresForks {
  readonly #pool: Pool;
  /** Whether it was opened. */
  readonly #opening: GroupCommit<ForkAsk, boolean>;

  constructor(pool: Pool, { owner, maxWaiting, soon }: ForksOptions) {
    this.#pool = pool;
    this.#opening = new GroupCommit<ForkAsk, boolean>({
      key: (ask) => ask.recipient,
      run: async (batch) => {
        const opened = await pool.run<{ id: string }>(OPEN_FORK, valuesOfForks(batch, owner));
        const ids = new Set(opened.map((row) => row.id));
        return batch.map((ask) => ids.has(ask.id));
      },
      maxBatch: 64,
      lanes: 2,
      maxWaiting,
      splits: (error) => !isConnectionFailure((error as Error).cause),
      soon,
    });
  }

  /** @param id the caller's own, so that he knows his fork again when the answer to the first try was lost. */
  async open(
    id: string,
    fork: ForkKey & { asked: readonly string[]; expiresAt: number },
    join: boolean,
  ): Promise<OpenForkOutcome> {
    const { recipient } = fork;
    const ask: ForkAsk = { ...fork, id, key: digestOf(fork), joinable: join };
    for (let tries = 0; tries < TRIES; tries++) {
      if (await this.#opening.submit(ask)) return { outcome: "opened", id };
      const live = await this.#pool.run<ForkRow>(FORKS_OF, [recipient]);
      if (live.some((row) => row.id === id)) return { outcome: "opened", id };
      const inTheWay = join ? live.length > 0 : live.some((row) => row.key === ask.key);
      if (inTheWay) return { outcome: "open-elsewhere", forks: live.map(forkOf) };
      await this.#pool.run(DROP_EXPIRED_FORKS, [recipient]);
    }
    throw new DirectoryUnavailable(`Forks for ${recipient} are opened and closed too fast to take one.`);
  }

  async openFor(recipient: string): Promise<readonly OpenFork[]> {
    return (await this.#pool.run<ForkRow>(FORKS_OF, [recipient])).map(forkOf);
  }
}
