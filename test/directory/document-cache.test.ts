import { describe, expect, it } from "vitest";
import { DirectoryUnavailable } from "../../src/base/errors.ts";
import type { Change } from "../../src/directory/directory.ts";
import { createDocumentCache, type DocumentCacheOptions } from "../../src/directory/document-cache.ts";
import { etagOf, type UserDocument } from "../../src/directory/user-documents.ts";

const JOE = "joe@example.com";
const KIND = "pres-rules";

const document = (text: string, aor = JOE): UserDocument => ({
  aor,
  kind: KIND,
  etag: etagOf(text),
  text,
  changedAt: 0,
});
const settled = () => new Promise((resolve) => setImmediate(resolve));

/** A directory whose answers come when the test says so. */
function make(options: DocumentCacheOptions = {}) {
  let tell: (change: Change) => void = () => undefined;
  const asked: Array<{ aor: string; answer: (document: UserDocument | null) => void; fail: (error: Error) => void }> =
    [];
  const cache = createDocumentCache(
    {
      documents: {
        get: (aor) => new Promise((answer, fail) => asked.push({ aor, answer, fail })),
      },
      onChange: (listener) => {
        tell = listener;
        return () => undefined;
      },
    },
    options,
  );
  const changed = (aor = JOE, kind: "pres-rules" | "im-rules" = KIND) =>
    tell({ kind: "document", aor, document: kind });
  return { cache, asked, tell: (change: Change) => tell(change), changed };
}

describe("the cache of users' documents", () => {
  it("asks once, remembers, and forgets on change; that there is none too", async () => {
    const { cache, asked, changed } = make();
    expect(cache.peek(JOE, KIND)).toBeUndefined();
    const both = Promise.all([cache.get(JOE, KIND), cache.get(JOE, KIND)]);
    asked[0]!.answer(document("<a/>"));
    expect((await both).map((each) => each?.text)).toEqual(["<a/>", "<a/>"]);
    expect(cache.peek(JOE, KIND)?.text).toBe("<a/>");
    expect(asked).toHaveLength(1);
    changed(JOE, "im-rules");
    changed("ann@example.com");
    expect(cache.peek(JOE, KIND)?.text).toBe("<a/>");
    changed();
    expect(cache.peek(JOE, KIND)).toBeUndefined();
    const none = cache.get(JOE, KIND);
    asked[1]!.answer(null);
    expect(await none).toBeNull();
    expect(cache.peek(JOE, KIND)).toBeNull();
  });

  it("does not keep what was read before a change, or before a break of the feed (concurrency.md 6)", async () => {
    for (const change of [{ kind: "document", aor: JOE, document: KIND }, { kind: "reset" }] as const) {
      const { cache, asked, tell } = make();
      const before = cache.get(JOE, KIND);
      tell(change);
      const after = cache.get(JOE, KIND);
      expect(asked).toHaveLength(2);
      asked[1]!.answer(document("<new/>"));
      expect((await after)?.text).toBe("<new/>");
      asked[0]!.answer(document("<old/>"));
      expect((await before)?.text).toBe("<old/>");
      expect(cache.peek(JOE, KIND)?.text).toBe("<new/>");
    }
  });

  it("a reset forgets everything", async () => {
    const { cache, asked, tell } = make();
    const one = cache.get(JOE, KIND);
    asked[0]!.answer(document("<a/>"));
    await one;
    tell({ kind: "reset" });
    expect([cache.peek(JOE, KIND), cache.size]).toEqual([undefined, 0]);
  });

  it("with the database away it answers what it knows, and nothing else; it asks again", async () => {
    const { cache, asked } = make();
    const known = cache.get(JOE, KIND);
    asked[0]!.answer(document("<a/>"));
    await known;
    const unknown = cache.get("ann@example.com", KIND);
    asked[1]!.fail(new DirectoryUnavailable("away"));
    await expect(unknown).rejects.toThrow(DirectoryUnavailable);
    expect((await cache.get(JOE, KIND))?.text).toBe("<a/>");
    void cache.get("ann@example.com", KIND);
    expect(asked).toHaveLength(3);
  });

  it("is bounded, by answers and by their text; the longest unused go first", async () => {
    const fill = async (options: DocumentCacheOptions, text: string) => {
      const { cache, asked } = make(options);
      for (let i = 0; i < 10; i++) {
        void cache.get(`u${i}@x`, KIND);
        asked[i]!.answer(document(text, `u${i}@x`));
        await settled();
        cache.peek("u0@x", KIND);
      }
      return Array.from({ length: 10 }, (_, i) => (cache.peek(`u${i}@x`, KIND) === undefined ? "" : i)).join("");
    };
    expect(await fill({ characters: 3 * 204 }, "<a/>")).toBe("089");
    expect(await fill({ characters: 4 * 1200 }, "x".repeat(1000))).toBe("0789");
  });
});
