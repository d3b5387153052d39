/** A party of the call flow, drawn as a column. */
export interface Column {
  readonly name: string;
  readonly port: number;
}

export interface Arrow {
  readonly from: number;
  readonly to: number;
  readonly label: string;
}

const WIDTH = 22;

/** The call flow as text: a column for each party, an arrow for each message, in the order they are given. */
export function drawLadder(columns: readonly Column[], arrows: readonly Arrow[]): string[] {
  const at = new Map(columns.map((column, i) => [column.port, i * WIDTH + Math.floor(WIDTH / 2)]));
  const width = columns.length * WIDTH;
  const head = columns.map(({ name }) => centred(name, WIDTH)).join("");
  const lines = [
    head.trimEnd(),
    lifelines([...at.values()], width)
      .join("")
      .trimEnd(),
  ];
  for (const { from, to, label } of arrows) {
    const start = at.get(from);
    const end = at.get(to);
    if (start === undefined || end === undefined || start === end) continue;
    lines.push(arrowLine(lifelines([...at.values()], width), start, end, label));
  }
  return lines;
}

function lifelines(places: readonly number[], width: number): string[] {
  const line = new Array<string>(width).fill(" ");
  for (const place of places) line[place] = "│";
  return line;
}

function arrowLine(line: string[], start: number, end: number, label: string): string {
  const right = start < end;
  const [low, high] = right ? [start, end] : [end, start];
  for (let i = low + 1; i < high; i++) line[i] = "─";
  line[right ? high - 1 : low + 1] = right ? ">" : "<";
  const text = ` ${label} `.slice(0, high - low - 3);
  const first = low + Math.ceil((high - low - text.length) / 2);
  for (let i = 0; i < text.length; i++) line[first + i] = text[i] as string;
  return line.join("").trimEnd();
}

function centred(text: string, width: number): string {
  const before = Math.floor(width / 2) - Math.floor(text.length / 2);
  return (" ".repeat(Math.max(0, before)) + text).padEnd(width);
}

/** What is written on the arrow of a message: method and user, or status and the method it answers. Undefined: not drawn. */
export function labelOf(text: string): string | undefined {
  const line = text.slice(0, text.indexOf("\r\n"));
  const status = /^SIP\/2\.0 (\d{3})/.exec(line)?.[1];
  const cseq = /^CSeq:\s*\d+\s+([A-Z]+)/im.exec(text)?.[1] ?? "";
  if (status !== undefined) return status === "100" || cseq === "OPTIONS" ? undefined : `${status} ${cseq}`;
  const request = /^([A-Z]+) (?:sips?:)?(?:([^@\s]+)@)?/.exec(line);
  if (request === null || request[1] === "OPTIONS") return undefined;
  const state = /^Subscription-State:\s*(\w+)/im.exec(text)?.[1];
  const to = /^To:.*?<sip:([^@>]+)@/im.exec(text)?.[1];
  return `${request[1]} ${state ?? request[2] ?? to ?? ""}`.trimEnd();
}
