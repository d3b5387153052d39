/** One captured message, as a Homer collector gets it. */
export interface HepCapture {
  /** Addresses are IP addresses without brackets. */
  readonly sourceHost: string;
  readonly sourcePort: number;
  readonly destinationHost: string;
  readonly destinationPort: number;
  /** IP protocol number: 17 UDP, 6 TCP and all that runs over it. */
  readonly protocol: number;
  /** Milliseconds since 1970-01-01T00:00Z, fractions allowed. */
  readonly timeMs: number;
  readonly agentId: number;
  readonly key?: string;
  readonly correlationId?: string;
  /** One character per octet. */
  readonly payload: string;
}

/** Generic chunks (vendor 0) of HEP version 3. */
const Chunk = {
  family: 1,
  protocol: 2,
  source4: 3,
  destination4: 4,
  source6: 5,
  destination6: 6,
  sourcePort: 7,
  destinationPort: 8,
  seconds: 9,
  microseconds: 10,
  protocolType: 11,
  agentId: 12,
  key: 14,
  payload: 15,
  correlationId: 17,
} as const;

const FAMILY_4 = 2;
const FAMILY_6 = 10;
const TYPE_SIP = 1;
const HEADER = 6;
/** What one datagram over IPv4 can carry. */
const LARGEST = 65_507;

/**
 * A HEP3 packet: `HEP3`, the length of all, then chunks of vendor, type, length (each two octets, the header's own six included) and
 * value. What does not fit a datagram is cut off the payload's end. @throws RangeError for a host that is no IP address
 */
export function encodeHep(capture: HepCapture): Uint8Array {
  const { sourceHost, destinationHost, key, correlationId } = capture;
  const six = sourceHost.includes(":") || destinationHost.includes(":");
  const octets = six ? octetsOf6 : octetsOf4;
  const seconds = Math.floor(capture.timeMs / 1000);
  const chunks = [
    chunk(Chunk.family, number(six ? FAMILY_6 : FAMILY_4, 1)),
    chunk(Chunk.protocol, number(capture.protocol, 1)),
    chunk(six ? Chunk.source6 : Chunk.source4, Buffer.from(octets(sourceHost))),
    chunk(six ? Chunk.destination6 : Chunk.destination4, Buffer.from(octets(destinationHost))),
    chunk(Chunk.sourcePort, number(capture.sourcePort, 2)),
    chunk(Chunk.destinationPort, number(capture.destinationPort, 2)),
    chunk(Chunk.seconds, number(seconds, 4)),
    chunk(Chunk.microseconds, number(Math.floor((capture.timeMs - seconds * 1000) * 1000), 4)),
    chunk(Chunk.protocolType, number(TYPE_SIP, 1)),
    chunk(Chunk.agentId, number(capture.agentId, 4)),
  ];
  if (key !== undefined) chunks.push(chunk(Chunk.key, Buffer.from(key)));
  if (correlationId !== undefined) chunks.push(chunk(Chunk.correlationId, Buffer.from(correlationId, "latin1")));
  const before = chunks.reduce((sum, each) => sum + each.length, HEADER);
  const payload = capture.payload.slice(0, Math.max(0, LARGEST - before - HEADER));
  chunks.push(chunk(Chunk.payload, Buffer.from(payload, "latin1")));
  const header = Buffer.from("HEP3\0\0", "latin1");
  header.writeUInt16BE(before + HEADER + payload.length, 4);
  return Buffer.concat([header, ...chunks]);
}

function chunk(type: number, value: Buffer): Buffer {
  const header = Buffer.alloc(HEADER);
  header.writeUInt16BE(type, 2);
  header.writeUInt16BE(HEADER + value.length, 4);
  return Buffer.concat([header, value]);
}

function number(value: number, octets: 1 | 2 | 4): Buffer {
  const buffer = Buffer.alloc(octets);
  buffer.writeUIntBE(value, 0, octets);
  return buffer;
}

function octetsOf4(host: string): number[] {
  const octets = host.split(".").map(Number);
  if (octets.length !== 4 || !octets.every((each) => Number.isInteger(each) && each >= 0 && each <= 255)) {
    throw new RangeError(`${host} is no IP address`);
  }
  return octets;
}

/** An IPv4 address comes out mapped (RFC 4291 2.5.5.2). */
function octetsOf6(host: string): number[] {
  if (!host.includes(":")) return [...new Array<number>(10).fill(0), 255, 255, ...octetsOf4(host)];
  const [head = "", tail, ...more] = host.replace(/%.*$/, "").split("::");
  const front = groups(head);
  const back = tail === undefined ? [] : groups(tail);
  const missing = 16 - front.length - back.length;
  if (more.length > 0 || (tail === undefined ? missing !== 0 : missing < 0))
    throw new RangeError(`${host} is no IP address`);
  return [...front, ...new Array<number>(missing).fill(0), ...back];
}

function groups(text: string): number[] {
  if (text === "") return [];
  return text.split(":").flatMap((group) => {
    if (group.includes(".")) return octetsOf4(group);
    const value = /^[0-9a-f]{1,4}$/i.test(group) ? Number.parseInt(group, 16) : undefined;
    if (value === undefined) throw new RangeError(`${text} is no part of an IP address`);
    return [value >> 8, value & 255];
  });
}
