/** Documents of the simulated servers: who made it, and the how-manieth of that server about the user. */
export interface Shown {
  /** Null: it is of no server, so the proxy's own. */
  readonly server: string | null;
  readonly serial: number;
  readonly open: boolean;
  readonly entity: string;
  readonly body: string;
}

const MARK = /<note>(\w+) (\d+)<\/note>/;

export function makeDocument(entity: string, server: string, serial: number, open: boolean): string {
  const status = open ? "open" : "closed";
  return `<?xml version="1.0" encoding="UTF-8"?><presence xmlns="urn:ietf:params:xml:ns:pidf" entity="sip:${entity}"><tuple id="t"><status><basic>${status}</basic></status><note>${server} ${serial}</note></tuple></presence>`;
}

/** Undefined: no document. */
export function readDocument(body: string): Shown | undefined {
  if (body === "") return undefined;
  const mark = MARK.exec(body);
  const entity = /entity="(?:pres|sip):([^"]*)"/.exec(body)?.[1] ?? "";
  const open = />\s*open\s*</.test(body);
  return { server: mark?.[1] ?? null, serial: Number(mark?.[2] ?? 0), open, entity, body };
}
