import { describe, expect, it } from "vitest";
import { entityTag, publicationOf } from "../../src/federation/publish.ts";

function publish(change: { body?: string; type?: string; tags?: readonly string[] } = {}) {
  const { body = "<presence/>", type = "application/pidf+xml", tags = [] } = change;
  return publicationOf({
    body,
    values: () => tags,
    header: (name) => (name === "Content-Type" && type !== "" ? type : undefined),
  });
}

describe("what a PUBLISH asks of a compositor that keeps nothing (RFC 3903 6)", () => {
  it("without an entity-tag it is an initial publication, which must have a body (step 5)", () => {
    expect(publish()).toEqual({ kind: "initial" });
    expect(publish({ body: "" })).toMatchObject({ kind: "fault", status: 400 });
  });

  it("with one it is conditional; the tag tells the epoch it was given at", () => {
    expect(publish({ tags: [entityTag(7, "x1")], body: "" })).toEqual({ kind: "conditional", epoch: 7 });
  });

  it.each(["", "e", "e7", "7.x", "e7.", "e-1.x", "e7.x y", `e7.${"x".repeat(65)}`, "e9999999999999999.x"])(
    "a tag that is none of ours is known for it: %s",
    (tag) => {
      expect(publish({ tags: [tag] })).toEqual({ kind: "conditional", epoch: null });
    },
  );

  it("more than one tag is invalid (step 3)", () => {
    expect(publish({ tags: ["a", "b"] })).toMatchObject({ kind: "fault", status: 400 });
  });

  it("what is no presence document is not understood (step 5); parameters and case do not matter", () => {
    expect(publish({ type: "text/plain" })).toMatchObject({ kind: "fault", status: 415 });
    expect(publish({ type: "Application/PIDF+xml; charset=UTF-8" })).toEqual({ kind: "initial" });
    expect(publish({ type: "" })).toEqual({ kind: "initial" });
  });
});
