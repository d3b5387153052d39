/** True for datagrams that are no SIP and want no answer: empty ones, keep-alive CRLFs, STUN (RFC 5389 6, RFC 5626 3.5). */
export function isNoise(bytes: Uint8Array): boolean {
  const length = bytes.length;
  if (length === 0) return true;
  const first = bytes[0]!;
  // Letters and digits: every message starts with one.
  if (first > 32) return false;
  if (length >= 20 && (first & 0xc0) === 0 && isStun(bytes)) return true;
  if (length > 4) return false;
  for (let i = 0; i < length; i++) {
    const byte = bytes[i]!;
    // Some NAT keep-alives are a NUL instead of a CRLF.
    if (byte !== 13 && byte !== 10 && byte !== 0) return false;
  }
  return true;
}

function isStun(bytes: Uint8Array): boolean {
  return bytes[4] === 0x21 && bytes[5] === 0x12 && bytes[6] === 0xa4 && bytes[7] === 0x42;
}
