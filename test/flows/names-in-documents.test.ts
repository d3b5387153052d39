import { afterEach, describe, expect, it } from "vitest";
import { parsePidf } from "../../src/presence/pidf.ts";
import { ALICE, AOR, Exclusive } from "../support/exclusive.ts";
import { Watcher } from "../support/watcher.ts";

/** models.md, "Identity and policy": what a watcher reads of a user whom his server knows by another name. */

let domain: Exclusive;

afterEach(() => domain.world.stop());

/** The body he is shown, where the server's document has this in it. */
async function shown(more: string): Promise<string> {
  domain = new Exclusive();
  await domain.begin({ each: { east: { identities: { [AOR]: "al.ice" } } } });
  const watcher = new Watcher(domain.world, "127.0.0.50");
  domain.east.more = more;
  await domain.bind("east");
  await watcher.subscribe(ALICE);
  await domain.wait(500);
  return watcher.last!.body;
}

describe("a server's name for a user", () => {
  it("is read by no watcher, however it is written", async () => {
    const body = await shown(
      '<x xmlns="urn:x" a="im:al&#46;ice@example.com"><![CDATA[sips:al.ice@EXAMPLE.com;gr=1]]></x><note>Mail sip:al%2eice@example.com</note>',
    );
    expect(() => parsePidf(body)).not.toThrow();
    expect(body).toContain('a="im:alice@example.com">sips:alice@example.com;gr=1</x>');
    expect(body).toContain("<note>Mail sip:alice@example.com</note>");
    expect(body).toMatch(/entity="(?:sip|pres):alice@example.com"/);
    expect(body).not.toMatch(/al(?:\.|&#46;|%2e)ice/);
  });

  it("is replaced in a document that cannot be read, which goes on as it came else", async () => {
    const body = await shown("<note>&unheard-of; sip:al.ice@example.com <b></note>");
    expect(() => parsePidf(body)).toThrow();
    expect(body).toContain("<note>&unheard-of; sip:alice@example.com <b></note>");
    expect(body).not.toContain("al.ice");
  });

  it("is not looked for where it is his own: the document arrives to the octet", async () => {
    const more = "<!-- as it came --><note  >sip:alice@example.com</note  >";
    domain = new Exclusive();
    await domain.begin();
    const watcher = new Watcher(domain.world, "127.0.0.50");
    domain.east.more = more;
    await domain.bind("east");
    await watcher.subscribe(ALICE);
    await domain.wait(500);
    expect(watcher.last!.body).toContain(more);
  });
});
