import type { SipMessage, SipRequest } from "../../src/sip/message/message.ts";
import { equalUris, parseUri } from "../../src/sip/message/uri.ts";

type Check = (m: SipMessage, sent: string) => boolean;

const startLine = (text: string): string => text.slice(0, text.indexOf("\r\n"));
const keepsStartLine: Check = (m, sent) => startLine(sent) === startLine(m.raw);
const keeps =
  (line: string): Check =>
  (m, sent) =>
    m.raw.includes(`\r\n${line}\r\n`) && sent.includes(`\r\n${line}\r\n`);
const keepsBody: Check = (m, sent) => sent.endsWith(`\r\n\r\n${m.body}`);

/** `must` and `must_not` of expect.json for the messages that a proxy sends on, in its words, as checks of what it sends. */
export const FORWARDED: Readonly<Record<string, ReadonlyArray<readonly [rule: string, holds: Check]>>> = {
  wsinv: [
    ["forward UnknownHeaderWithUnusualValue unchanged", keeps("UnknownHeaderWithUnusualValue: ;;,,;;,;")],
    ["treat Max-Forwards 0068 as 68", (m) => m.maxForwards === 68],
    ["treat CSeq 0009 as 9", (m) => m.cseq.number === 9],
    ["three Via values in two lines, one compact", (m) => m.vias.length === 3 && m.vias[2]!.host === "192.168.255.111"],
    ["an empty Subject", (m) => m.header("Subject") === ""],
    ["m: is Contact", (m) => m.contacts[0] !== "*" && m.contacts.length === 1],
  ],
  intmeth: [
    ["the method is kept", keepsStartLine],
    ["octets of quoted pairs", (m) => m.to.display === "BEL:\x07 NUL:\0 DEL:\x7f"],
    [
      "the extension header keeps its octets",
      (m, sent) => sent.includes(`extensionHeader-!.%*+_\`'~:${extension(m)}\r\n`),
    ],
  ],
  esc01: [
    ["alter the R-URI user part", keepsStartLine],
    [
      "unescape recursively",
      (m) => m.contacts[0] !== "*" && (m.contacts as SipMessage["routes"])[0]!.uri.raw.endsWith("v%61lue%25%34%31"),
    ],
    [
      "To sip:%75se%72@example.com is sip:user@example.com",
      (m) => equalUris(m.to.uri, parseUri("sip:user@example.com")),
    ],
    [
      'uri-parameter "name" has value "value%41"',
      (m) => {
        const uri = (m.contacts as SipMessage["routes"])[0]!.uri;
        return uri.kind === "sip" && uri.params.get("name") === "value%41" && uri.params.has("lr");
      },
    ],
  ],
  escnull: [
    [
      "truncate the AOR at %00",
      (m, sent) => sent.includes("sip:null-%00-null@example.com") && m.to.uri.raw.includes("%00-null"),
    ],
    [
      "two distinct contacts",
      (m) => {
        const contacts = m.contacts as SipMessage["routes"];
        return contacts.length === 2 && !equalUris(contacts[0]!.uri, contacts[1]!.uri);
      },
    ],
  ],
  esc02: [
    ["treat RE%47IST%45R as REGISTER", (m) => (m as SipRequest).method === "RE%47IST%45R"],
    ['treat "C%6Fntact" as a Contact header', (m) => m.contacts.length === 2],
  ],
  longreq: [["34 Via values", (m) => m.vias.length === 34]],
  dblreq: [
    ["include the trailing INVITE octets in the forwarded request", (_, sent) => !sent.includes("INVITE")],
    ["no body is left", (m) => m.body === ""],
  ],
  semiuri: [
    [
      "the user part is user;par=u@example.net",
      (m) => {
        const uri = (m as SipRequest).uri;
        return (
          uri.kind === "sip" && decodeURIComponent(uri.user!) === "user;par=u@example.net" && uri.params.size === 0
        );
      },
    ],
  ],
  transports: [
    [
      "keep Via values with SCTP, TLS, UNKNOWN and TCP unchanged",
      (m, sent) => m.headers("Via").every((via) => sent.includes(`Via: ${via}\r\n`)) && m.vias.length === 5,
    ],
  ],
  mpart01: [
    ["carry the 553-octet body byte-exact", keepsBody],
    ["it is 553 octets", (m) => m.body.length === 553],
  ],
  unreason: [["keep the UTF-8 reason phrase byte-exact", keepsStartLine]],
  lwsstart: [["include the extra SP in the forwarded Request-Line", (_, sent) => !startLine(sent).includes("  ")]],
  trws: [["include the extra SP in the forwarded Request-Line", (_, sent) => !/ $/.test(startLine(sent))]],
  ltgtruri: [["include the <> in the forwarded Request-Line", (_, sent) => !startLine(sent).includes("<")]],
  escruri: [
    [
      "put the escaped headers in the Request-URI",
      (_, sent) => !startLine(sent).includes("?") && !sent.includes("\r\nRoute:"),
    ],
  ],
  baddn: [["propagate the error", () => false]],
  unksm2: [
    ["all headers are kept", (m, sent) => sent.includes("To: isbn:2983792873\r\n") && m.to.uri.scheme === "isbn"],
  ],
  regaut01: [
    [
      "include the Authorization header field unmodified",
      (m, sent) => sent.includes(`\r\nAuthorization: ${m.header("Authorization")}\r\n`),
    ],
  ],
  cparam01: [
    [
      "unknownparam is a contact-param",
      (m) => {
        const contact = (m.contacts as SipMessage["routes"])[0]!;
        return contact.params.has("unknownparam") && !contact.uri.raw.includes("unknownparam");
      },
    ],
  ],
  cparam02: [
    [
      "unknownparam is a url-parameter",
      (m) => {
        const { uri, params } = (m.contacts as SipMessage["routes"])[0]!;
        return uri.kind === "sip" && uri.params.has("unknownparam") && params.size === 0;
      },
    ],
  ],
  regescrt: [["the escaped Route is kept", keeps("M: <sip:user@example.com?Route=%3Csip:sip.example.com%3E>")]],
  inv2543: [
    ["the body is all octets after the empty line", (m) => m.body.length === 105],
    ["there is no From tag", (m) => m.from.tag === undefined],
  ],
};

function extension(m: SipMessage): string {
  const start = m.raw.indexOf("extensionHeader");
  const colon = m.raw.indexOf(":", start);
  return m.raw.slice(colon + 1, m.raw.indexOf("\r\n", colon));
}
