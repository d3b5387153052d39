/** Percent escapes of URIs (RFC 3261 19.1.2, RFC 3966 3). Strings are latin1: an escape stands for one byte. */

const UNRESERVED = new Uint8Array(65_536);
for (const c of "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.!~*'()")
  UNRESERVED[c.charCodeAt(0)] = 1;

/** May stand in the user part as they are (`user-unreserved`). */
const USER = UNRESERVED.slice();
for (const c of "&=+$,;?/") USER[c.charCodeAt(0)] = 1;

function hex(c: number): number {
  if (c >= 48 && c <= 57) return c - 48;
  const letter = c | 32;
  return letter >= 97 && letter <= 102 ? letter - 87 : -1;
}

/** The byte that the escape at `at` stands for; -1 where there is no whole escape. */
function escaped(text: string, at: number): number {
  const high = hex(text.charCodeAt(at + 1));
  const low = hex(text.charCodeAt(at + 2));
  return high < 0 || low < 0 ? -1 : high * 16 + low;
}

/** Every escape decoded, once (never again what comes out). What is no whole escape stays as it is. */
export function unescapeAll(text: string): string {
  return text.indexOf("%") < 0 ? text : recode(text, () => true);
}

/**
 * For comparison: escapes of characters outside the reserved set are decoded, the others stay, in upper case
 * (RFC 3261 19.1.4: only the former are equivalent to their escapes).
 */
export function comparable(text: string): string {
  return text.indexOf("%") < 0 ? text : recode(text, (byte) => UNRESERVED[byte] === 1);
}

/** The one spelling of a user part: unescaped what may stand as it is (RFC 3261 10.3 step 5), all else escaped in upper case. */
export function canonicalUser(user: string): string {
  let plain = true;
  for (let i = 0; i < user.length && plain; i++) plain = USER[user.charCodeAt(i)] === 1;
  if (plain) return user;
  let out = "";
  for (const c of recode(user, () => true)) out += USER[c.charCodeAt(0)] === 1 ? c : escapeByte(c.charCodeAt(0));
  return out;
}

function escapeByte(byte: number): string {
  return `%${(byte < 16 ? "0" : "") + byte.toString(16).toUpperCase()}`;
}

function recode(text: string, decode: (byte: number) => boolean): string {
  let out = "";
  let kept = 0;
  for (let at = text.indexOf("%"); at >= 0; at = text.indexOf("%", at)) {
    const byte = escaped(text, at);
    if (byte < 0) {
      at++;
      continue;
    }
    out += text.slice(kept, at) + (decode(byte) ? String.fromCharCode(byte) : escapeByte(byte));
    at += 3;
    kept = at;
  }
  return out + text.slice(kept);
}
