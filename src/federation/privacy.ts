/** What of a message says how private its sender is to be; requests and responses are such. */
export interface PrivacyHeaders {
  has(name: string): boolean;
  headers(name: string): readonly string[];
}

/**
 * RFC 3325 7, 9.3: the identity that the network asserts is kept from those who are not trusted. `none` says the contrary,
 * whatever stands beside it (RFC 3323 4.2).
 */
export function isPrivate(message: PrivacyHeaders): boolean {
  if (!message.has("Privacy")) return false;
  const values = message.headers("Privacy").join(";");
  return ID.test(values) && !NONE.test(values);
}

const ID = /(^|[;,\s])id([;,\s]|$)/i;
const NONE = /(^|[;,\s])none([;,\s]|$)/i;
