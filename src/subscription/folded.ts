/** What a subscription has as texts of its own, and its dialogs repeat. */
export interface Names {
  readonly id: string;
  readonly aor: string;
  readonly watcher: string;
}

/**
 * A packed dialog as it is kept, a third shorter: its subscription's id, user and watcher stand in it as one character each.
 * A string of its own, as the dialog was.
 */
export function fold(packed: string, { id, aor, watcher }: Names): string {
  // What has such characters itself stays as it came.
  if ([packed, id, aor, watcher].some((text) => MARKS.test(text))) return AS_IT_CAME + packed;
  return replaced(replaced(replaced(FOLDED + packed, id, ID), aor, AOR), watcher, WATCHER);
}

export function unfold(kept: string, { id, aor, watcher }: Names): string {
  const packed = kept.slice(1);
  if (!kept.startsWith(FOLDED)) return packed;
  return packed.split(WATCHER).join(watcher).split(AOR).join(aor).split(ID).join(id);
}

/** False for what `fold` has not made: a Call-ID. */
export function isFolded(text: string): boolean {
  return text.startsWith(FOLDED) || text.startsWith(AS_IT_CAME);
}

/** `join` makes one flat text. */
function replaced(text: string, name: string, mark: string): string {
  return name === "" ? text : text.split(name).join(mark);
}

const AS_IT_CAME = "\x00";
const FOLDED = "\x01";
const ID = "\x02";
const AOR = "\x03";
const WATCHER = "\x04";
const MARKS = new RegExp(`[${ID}${AOR}${WATCHER}]`);
