import { LRUCache } from "lru-cache";
import type { XmlElement } from "../presence/xml.ts";
import { keyOf, type Permissions } from "./permissions.ts";
import { ALLOWED, type Handling, type Question, type SenderVerdict, type WatcherVerdict } from "./policy.ts";
import { transformOf } from "./transform.ts";

type Transform = (presence: XmlElement) => XmlElement;

/** Transformations in use are few: one for each circle of friends. */
const MOST_TRANSFORMS = 10_000;
const TRANSFORMS = new LRUCache<string, { readonly of: Transform | null }>({
  maxSize: MOST_TRANSFORMS,
  sizeCalculation: () => 1,
});

/** Who may see all of it, or all that is provided; to whom less than `allow` is granted nothing needs be taken out. */
export function watcherVerdict(
  handling: Handling,
  permissions: Permissions,
  told: Pick<WatcherVerdict, "rule" | "until" | "bySphere">,
): WatcherVerdict {
  if (handling !== "allow") return { ...ALLOWED, ...told, handling };
  const transformKey = keyOf(permissions);
  return { ...ALLOWED, ...told, transformKey, transform: transformBy(transformKey, permissions) };
}

/** The same function for the same permissions, whoever asks: what it makes of one document may be kept by it. */
function transformBy(key: string, permissions: Permissions): Transform | null {
  if (key === "") return null;
  let found = TRANSFORMS.get(key);
  if (found === undefined) {
    found = { of: transformOf(permissions) };
    TRANSFORMS.set(key, found);
  }
  return found.of;
}

/** He may see all of himself: nothing is told to anybody. */
export function isHimself({ watcher, trusted, aor }: Question): boolean {
  return trusted && watcher === aor;
}

/** Nobody can be asked now. @param until when to ask again, milliseconds since 1970. */
export function unknownWatcher(rule: string, until: number): WatcherVerdict {
  return { ...ALLOWED, handling: "block", rule, until, known: false };
}

export function unknownSender(rule: string): SenderVerdict {
  return { allowed: false, rule, known: false };
}
