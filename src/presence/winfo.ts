import { numberOf, parseVersioned } from "./versioned.ts";
import { attributeNamed, childrenOf, element, printXml, textOf, type XmlElement } from "./xml.ts";

/** Watcher information documents, `application/watcherinfo+xml` (RFC 3858 3). What is not of that namespace is ignored, as it must be. */

export const WINFO_TYPE = "application/watcherinfo+xml";
export const WINFO_NAMESPACE = "urn:ietf:params:xml:ns:watcherinfo";

/** RFC 3857 4.7.1; `init` is never told. */
export const WATCHER_STATUSES = ["pending", "active", "waiting", "terminated"] as const;
export type WatcherStatus = (typeof WATCHER_STATUSES)[number];

/** What brought a watcher into his state. */
export const WATCHER_EVENTS = [
  "subscribe",
  "approved",
  "deactivated",
  "probation",
  "rejected",
  "timeout",
  "giveup",
  "noresource",
] as const;
export type WatcherEvent = (typeof WATCHER_EVENTS)[number];

/** RFC 3858 3: `partial` has only what changed since the document before. */
export interface Winfo {
  /** Begins at 0 and rises by one with each document of a subscription; of 32 bits. */
  readonly version: number;
  readonly state: "full" | "partial";
  readonly lists: readonly WatcherList[];
}

export interface WatcherList {
  /** A URI: who is watched. */
  readonly resource: string;
  /** Event package that is watched. */
  readonly package: string;
  readonly watchers: readonly WatcherState[];
}

export interface WatcherState {
  /** A token (RFC 3261 25.1), of this watcher in every document of a subscription. */
  readonly id: string;
  readonly uri: string;
  readonly status: WatcherStatus;
  readonly event: WatcherEvent;
  readonly displayName?: string | null;
  /** Seconds left; null: not said. */
  readonly expiration?: number | null;
  /** Seconds. */
  readonly durationSubscribed?: number | null;
}

/**
 * @param octets the body of a NOTIFY. Lists and watchers that lack what they must have are left out.
 * @throws MalformedDocument where it is not well-formed or no such document.
 */
export function parseWinfo(octets: string): Winfo {
  const { root, version, state } = parseVersioned(octets, WINFO_NAMESPACE, "watcherinfo", "watcher information");
  const lists = childrenOf(root, WINFO_NAMESPACE, "watcher-list").map(listOf);
  return { version, state, lists: lists.filter((each) => each !== null) };
}

function listOf(from: XmlElement): WatcherList | null {
  const resource = attributeNamed(from, "resource");
  const name = attributeNamed(from, "package");
  if (resource === undefined || name === undefined) return null;
  const watchers = childrenOf(from, WINFO_NAMESPACE, "watcher").map(watcherOf);
  return { resource: resource.trim(), package: name.trim(), watchers: watchers.filter((each) => each !== null) };
}

function watcherOf(from: XmlElement): WatcherState | null {
  const id = attributeNamed(from, "id");
  const status = WATCHER_STATUSES.find((each) => each === attributeNamed(from, "status"));
  const event = WATCHER_EVENTS.find((each) => each === attributeNamed(from, "event"));
  if (id === undefined || status === undefined || event === undefined) return null;
  return {
    id,
    uri: textOf(from),
    status,
    event,
    displayName: attributeNamed(from, "display-name") ?? null,
    expiration: numberOf(from, "expiration"),
    durationSubscribed: numberOf(from, "duration-subscribed"),
  };
}

/** The body of a NOTIFY, in octets. */
export function printWinfo({ version, state, lists }: Winfo): string {
  return printXml(element(WINFO_NAMESPACE, "watcherinfo", { version, state }, lists.map(listElement)));
}

function listElement({ resource, package: name, watchers }: WatcherList): XmlElement {
  return element(WINFO_NAMESPACE, "watcher-list", { resource, package: name }, watchers.map(watcherElement));
}

function watcherElement(watcher: WatcherState): XmlElement {
  const attributes = {
    id: watcher.id,
    status: watcher.status,
    event: watcher.event,
    "display-name": watcher.displayName ?? null,
    expiration: watcher.expiration ?? null,
    "duration-subscribed": watcher.durationSubscribed ?? null,
  };
  return element(WINFO_NAMESPACE, "watcher", attributes, [watcher.uri]);
}

/** What a subscriber has learned from the documents of one subscription (RFC 3858 4): resource -> id -> watcher. */
export interface WatcherTable {
  /** Of the last document; null: there was none. */
  readonly version: number | null;
  readonly lists: ReadonlyMap<string, ReadonlyMap<string, WatcherState>>;
}

export const NO_WATCHERS: WatcherTable = { version: null, lists: new Map() };

export type AppliedWinfo =
  /** An older document. */
  | { readonly outcome: "discarded" }
  /** `gap`: a document was lost, so full state is to be asked for by a refresh. */
  | { readonly outcome: "applied"; readonly table: WatcherTable; readonly gap: boolean };

/** RFC 3858 4; the same version again, of which it says nothing, is the same document again. */
export function applyWinfo(table: WatcherTable, document: Winfo): AppliedWinfo {
  const { version } = table;
  if (version !== null && document.version <= version) return { outcome: "discarded" };
  const gap = version !== null && document.version > version + 1;
  const lists = new Map(document.state === "full" ? [] : table.lists);
  for (const { resource, watchers } of document.lists) {
    const rows = new Map(lists.get(resource));
    for (const each of watchers) {
      // "that entry MAY be removed from the table at any time"
      if (each.status === "terminated") rows.delete(each.id);
      else rows.set(each.id, each);
    }
    lists.set(resource, rows);
  }
  return { outcome: "applied", table: { version: document.version, lists }, gap };
}
