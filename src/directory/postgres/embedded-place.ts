import { createHash } from "node:crypto";
import { chmod, chown, mkdir, readdir, readFile, realpath, rename, rm, stat, writeFile } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import { CodomainError } from "../../base/errors.ts";
import type { Runtime } from "../../runtime/runtime.ts";
import type { Telemetry } from "../../telemetry/events.ts";
import { type Binaries, brokenInstall, lastLine, runProgram } from "./binaries.ts";
import { identityOf, isSame } from "./postmaster.ts";
import { type Account, barrier, chooseAccount, commonPlace, isRoot, reachableBinaries } from "./unprivileged.ts";

const USER = "codomain";
const LOCK_WAIT_MS = 60_000;

/** What is kept beside the data, readable by its owner only. */
export interface Kept {
  readonly password: string;
  port: number;
  /** The codomain that started the server last. */
  owner: string;
}

export interface Place {
  readonly directory: string;
  /** The cluster itself, a real path. */
  readonly data: string;
  readonly binaries: Binaries;
  /** Null: whoever we are. */
  readonly account: Account | null;
}

/** Directory, account and programs that fit each other: as root, what an ordinary user can reach. */
export async function preparePlace(
  telemetry: Telemetry,
  found: Binaries,
  version: string,
  wantedDirectory: string,
): Promise<Place> {
  let directory = resolve(wantedDirectory);
  const existing = await stat(join(directory, "data")).catch(() => null);
  if (!isRoot()) {
    if (existing !== null && existing.uid !== process.getuid?.()) {
      throw new CodomainError(
        "embedded-postgres",
        `${directory} belongs to another user (uid ${existing.uid}). Start codomain as that user or as root, or give another directory: database: embedded:/path.`,
      );
    }
    await makeDirectory(directory);
    return { directory, data: join(await realpath(directory), "data"), binaries: found, account: null };
  }
  const account = await chooseAccount(existing?.uid ?? null);
  await openOwn(directory);
  const closed = await barrier(directory, account);
  if (closed !== null) {
    const wanted = directory;
    directory = await commonPlace(
      `${basename(wanted)}-${createHash("sha256").update(wanted).digest("hex").slice(0, 12)}`,
    );
    const detail = `runs as ${account.name}, who cannot enter ${closed}: its data is kept in ${directory} in place of ${wanted}`;
    telemetry.emit("warning", { what: "embedded PostgreSQL", detail });
  }
  await makeDirectory(directory);
  const binaries = await reachableBinaries(found, account, version);
  return { directory, data: join(await realpath(directory), "data"), binaries, account };
}

/** The directory named for the data may be entered, if it holds nothing else; what is above it is not ours to open. */
async function openOwn(directory: string): Promise<void> {
  const names = await readdir(directory).catch(() => null);
  if (names === null || names.some((name) => !/^(data|server\.json|starting)/.test(name))) return;
  const { mode } = await stat(directory);
  await chmod(directory, (mode & 0o777) | 0o011);
}

/** What is made anew can be entered by others, whatever the umask: the data below it cannot. */
async function makeDirectory(directory: string): Promise<void> {
  try {
    const first = await mkdir(directory, { recursive: true, mode: 0o755 });
    if (first === undefined) return;
    for (let at = directory; at.length >= first.length; at = dirname(at)) await chmod(at, 0o755);
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new CodomainError(
      "embedded-postgres",
      `The directory ${directory} cannot be made: ${reason}. Give another: database: embedded:/path.`,
      { cause: error },
    );
  }
}

/** One codomain at a time prepares and starts. Returns the way to let the next one. */
export async function lockPlace(runtime: Runtime, place: Place): Promise<() => Promise<void>> {
  const file = join(place.directory, "starting");
  const me = await identityOf(process.pid);
  const deadline = runtime.clock.now() + LOCK_WAIT_MS;
  while (runtime.clock.now() < deadline) {
    const failure = await writeFile(file, me, { flag: "wx" }).then(
      () => null,
      (error: NodeJS.ErrnoException) => error,
    );
    if (failure === null) return () => rm(file, { force: true });
    if (failure.code !== "EEXIST") {
      throw new CodomainError(
        "embedded-postgres",
        `${place.directory} cannot be written to: ${failure.message}. Give another: database: embedded:/path.`,
        { cause: failure },
      );
    }
    const holder = await readFile(file, "utf8").catch(() => "");
    if (holder !== "" && !(await isSame(holder))) await rm(file, { force: true });
    await new Promise<void>((resolve) => {
      runtime.timers.after(50, resolve);
    });
  }
  throw new CodomainError(
    "embedded-postgres",
    `Another codomain is starting on ${place.directory} and does not finish. Remove ${file} if there is none.`,
  );
}

/** Makes the cluster once. It appears under its name only when it is whole, so a crash on the way leaves none. */
export async function initialise(runtime: Runtime, place: Place, withoutSync: boolean): Promise<Kept> {
  const version = await readFile(join(place.data, "PG_VERSION"), "utf8").catch(() => null);
  if (version !== null) return readKept(place);
  const kept: Kept = { password: runtime.random.token(32), port: 0, owner: "" };
  const unfinished = `${place.data}.${runtime.random.token(8)}`;
  const secret = `${unfinished}.password`;
  await writeFile(secret, kept.password, { mode: 0o600 });
  try {
    await mkdir(unfinished, { mode: 0o700 });
    if (place.account !== null) {
      await chown(secret, place.account.uid, place.account.gid);
      await chown(unfinished, place.account.uid, place.account.gid);
    }
    const args = [
      "-D",
      unfinished,
      "-U",
      USER,
      "-A",
      "scram-sha-256",
      `--pwfile=${secret}`,
      "-E",
      "UTF8",
      "--no-locale",
      "--no-instructions",
    ];
    if (withoutSync) args.push("--no-sync");
    const { code, output } = await runProgram(place.binaries.initdb, args, identity(place));
    if (code !== 0) {
      throw (
        brokenInstall(output) ??
        new CodomainError("embedded-postgres", `initdb failed in ${place.directory}: ${lastLine(output)}.`)
      );
    }
    await keep(place, kept);
    await rename(unfinished, place.data);
    return kept;
  } finally {
    await rm(secret, { force: true });
    await rm(unfinished, { recursive: true, force: true });
  }
}

/** As whom, and where, its programs run. */
export function identity(place: Place): { uid?: number; gid?: number; cwd: string } {
  const { account } = place;
  return account === null ? { cwd: place.directory } : { uid: account.uid, gid: account.gid, cwd: place.directory };
}

function keptFile(place: Place): string {
  return join(place.directory, "server.json");
}

export async function keep(place: Place, kept: Kept): Promise<void> {
  const file = `${keptFile(place)}.new`;
  await writeFile(file, `${JSON.stringify(kept)}\n`, { mode: 0o600 });
  await chmod(file, 0o600);
  await rename(file, keptFile(place));
}

async function readKept(place: Place): Promise<Kept> {
  try {
    const kept: unknown = JSON.parse(await readFile(keptFile(place), "utf8"));
    const { password, port, owner } = kept as Partial<Kept>;
    if (typeof password === "string" && typeof port === "number" && typeof owner === "string")
      return { password, port, owner };
  } catch {
    // Told below, with what can be done.
  }
  throw new CodomainError(
    "embedded-postgres",
    `${keptFile(place)}, the key to the data beside it, is missing or damaged. Restore it, or give another directory: database: embedded:/path.`,
  );
}

export async function refuseIfOwned(place: Place, kept: Kept): Promise<void> {
  if (!(await isSame(kept.owner))) return;
  const pid = kept.owner.split(" ")[0];
  const mine = Number(pid) === process.pid;
  throw new CodomainError(
    "embedded-postgres",
    `The data in ${place.directory} is in use by ${mine ? "this very process" : `another codomain (process ${pid})`}. ` +
      `Stop that one, give another directory (database: embedded:/path), or share a server: database: postgres://user@host/db.`,
  );
}
