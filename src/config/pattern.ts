/** Patterns of addresses, where `*` stands for any run of characters, none included. */

/** True where every text that `narrow` matches is matched by `wide` too: what `narrow` then could do, `wide` does first. */
export function covers(wide: string, narrow: string): boolean {
  // A star of `narrow` can become anything, so only a star of `wide` may stand against it: it is matched as one more letter.
  let w = 0;
  let n = 0;
  let star = -1;
  let from = 0;
  while (n < narrow.length) {
    if (wide[w] === "*") {
      star = w++;
      from = n;
    } else if (w < wide.length && wide[w] === narrow[n] && narrow[n] !== "*") {
      w++;
      n++;
    } else if (star >= 0) {
      w = star + 1;
      n = ++from;
    } else {
      return false;
    }
  }
  while (wide[w] === "*") w++;
  return w === wide.length;
}

/** True where `text`, which holds no star of its own, fits. */
export function fits(pattern: string, text: string): boolean {
  return covers(pattern, text);
}
