import { chmod, cp, lstat, mkdir, mkdtemp, readFile, rename, rm, stat } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { CodomainError } from "../../base/errors.ts";
import { type Binaries, binariesIn } from "./binaries.ts";

/** PostgreSQL refuses to run as root. These are the users it then runs as, the first that exists. */
const CANDIDATES = ["postgres", "nobody"];

export interface Account {
  readonly name: string;
  readonly uid: number;
  readonly gid: number;
}

export function isRoot(): boolean {
  return process.getuid?.() === 0;
}

/** An existing account, since initdb looks its own one up. `owner`: of a data directory that exists already. */
export async function chooseAccount(owner: number | null): Promise<Account> {
  const accounts = (await readFile("/etc/passwd", "utf8").catch(() => ""))
    .split("\n")
    .map((line) => line.split(":"))
    .map(([name = "", , uid, gid]) => ({ name, uid: Number(uid), gid: Number(gid) }));
  const owning = accounts.find((account) => account.uid === owner && account.uid !== 0);
  if (owning !== undefined) return owning;
  for (const name of CANDIDATES) {
    const found = accounts.find((account) => account.name === name && account.uid > 0);
    if (found !== undefined) return found;
  }
  throw new CodomainError(
    "embedded-postgres",
    `PostgreSQL refuses to run as root, and neither ${CANDIDATES.join(" nor ")} is a user here. Start codomain as another user, or name a server: database: postgres://user@host/db.`,
  );
}

/** The first directory on the way to `path` that this account cannot enter; null: it can reach it. */
export async function barrier(path: string, account: Account): Promise<string | null> {
  const way: string[] = [];
  for (let at = resolve(path); ; at = dirname(at)) {
    way.unshift(at);
    if (dirname(at) === at) break;
  }
  for (const each of way) {
    const found = await stat(each).catch(() => null);
    if (found === null) return null;
    const bit = found.uid === account.uid ? 0o100 : found.gid === account.gid ? 0o010 : 0o001;
    if (found.isDirectory() && (found.mode & bit) === 0) return each;
  }
  return null;
}

/** Root's own place for what must be reachable by others. Refused if somebody else could have prepared it. */
export async function commonPlace(...parts: readonly string[]): Promise<string> {
  for (const base of ["/var/lib/codomain", "/var/tmp/codomain"]) {
    try {
      // Whatever the umask: it is there to be entered.
      if ((await mkdir(base, { recursive: true, mode: 0o755 })) !== undefined) await chmod(base, 0o755);
    } catch {
      continue;
    }
    const found = await lstat(base);
    if (found.isDirectory() && found.uid === 0 && (found.mode & 0o022) === 0) return join(base, ...parts);
  }
  throw new CodomainError(
    "embedded-postgres",
    "There is no place that the embedded PostgreSQL's own user could reach. Give one: database: embedded:/path, or name a server: database: postgres://user@host/db.",
  );
}

/** The programs, or a copy of them where this account can run them. */
export async function reachableBinaries(binaries: Binaries, account: Account, version: string): Promise<Binaries> {
  if ((await barrier(binaries.root, account)) === null) return binaries;
  const place = await commonPlace(`postgresql-${version}`);
  const isThere = async () => (await stat(join(place, "bin")).catch(() => null)) !== null;
  if (await isThere()) return binariesIn(place);
  // A name nobody else has: two may be at it at once, in one process too.
  const unfinished = await mkdtemp(`${place}.`);
  try {
    await chmod(unfinished, 0o755);
    await cp(binaries.root, unfinished, { recursive: true, verbatimSymlinks: true });
    await rename(unfinished, place);
  } catch (error) {
    await rm(unfinished, { recursive: true, force: true });
    if (!(await isThere())) throw error;
  }
  return binariesIn(place);
}
