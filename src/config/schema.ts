import { z } from "zod";
import { EXPRESSIONS } from "../provisioning/reduce.ts";
import {
  adminUrl,
  aorPattern,
  collectorUrl,
  databaseUrl,
  duration,
  hostName,
  listenUrl,
  pointUrl,
  serverUri,
  size,
} from "./scalars.ts";
import { policy } from "./schema-policy.ts";

/** The shape of the YAML, key by key; descriptions go into the published JSON Schema. What names what is `check.ts`'s matter. */

const text = (what: string) => z.string().min(1).describe(what);
const count = (least: number, most: number) => z.int().min(least).max(most);
const server = () => z.string().describe("The name of a server.");

export const DEFAULT_LISTEN = ["udp://127.0.0.1:5060", "tcp://127.0.0.1:5060", "ws://127.0.0.1:5066"] as const;

export const listenObjectSchema = z
  .strictObject({
    url: listenUrl().describe("Transport, IP address and port: udp, tcp, tls, ws or wss."),
    cert: text("PEM file with the certificate and its chain, or the PEM text itself. For tls and wss.").optional(),
    key: text("PEM file with the private key, or the PEM text itself. For tls and wss.").optional(),
    ca: text(
      "PEM file with the authorities that peers' certificates are checked against, or the PEM text itself.",
    ).optional(),
    verify: z
      .boolean()
      .optional()
      .describe("Refuse peers without a certificate that verifies. Default: true where `ca` is given."),
    direction: z
      .enum(["up", "down"])
      .default("up")
      .describe("For trees: `down` is where a middle node sends what goes to its children."),
    unknown: z
      .enum(["refuse", "client"])
      .optional()
      .describe(
        "What is done with an origin that is no server: 403, or treat it as a client. Default: client on loopback, else refuse.",
      ),
    advertise: text("Host or host:port that Via and Record-Route say in place of the address.").optional(),
  })
  .describe("An address to listen on, with its settings.");

export const listenTextSchema = listenUrl().describe("An address to listen on, as URL.");

export const serverSchema = z
  .strictObject({
    uri: serverUri().optional().describe("Where the server is, if it is one node."),
    nodes: z.array(serverUri()).min(1).optional().describe("Where the server's nodes are, if it has several."),
    balance: z
      .enum(["round-robin", "failover"])
      .default("round-robin")
      .describe("How a node is chosen: each in turn, or the first that answers in the order written."),
    names: z
      .array(hostName("host name"))
      .default([])
      .describe("Names its certificate or its Via may carry besides its nodes' hosts."),
    identities: z
      .record(z.string(), text("User part, or whole address, by which this server knows him."))
      .default({})
      .describe("Address of record -> the name by which this server knows that user."),
    onward: z
      .enum(["none", "up", "children", "both"])
      .default("none")
      .describe(
        "Does it send requests on by itself: to its parent, to its children, which for a peer are the user's other servers.",
      ),
    claims: z
      .array(z.enum(["register", "publish"]))
      .default(["register"])
      .describe("Which requests from it bind a user to it."),
    proves: z
      .array(z.enum(["MESSAGE", "INVITE", "SUBSCRIBE", "PUBLISH", "OPTIONS"]))
      .default(["MESSAGE", "INVITE", "SUBSCRIBE"])
      .describe("Methods whose success shows that the user lives there."),
    reginfo: z
      .enum(["contact", "whole"])
      .default("contact")
      .describe("What of a reg event document it acts on: a terminated contact, or only a terminated registration."),
    evict: z.enum(["reginfo", "register", "none"]).default("reginfo").describe("How it is told to let go of a user."),
    preserves: z
      .array(z.enum(["session-id", "instance"]))
      .default([])
      .describe("Which end-to-end marks of a watcher's device it keeps."),
    policy: z.enum(["own", "none"]).default("own").describe("none: it never denies a watcher by itself."),
    offers: z
      .array(z.enum(["reg"]))
      .default([])
      .describe("reg: it tells who is registered with it (RFC 3680), and by that users who are watched are claimed."),
    repoint: z
      .union([z.enum(["yes", "no"]), z.boolean()])
      .default("yes")
      .describe("Can a dialog with it be one leg of ours."),
    subdomain: hostName("host name").optional().describe("Host under which its users are handed out: user@subdomain."),
    xcap: z
      .strictObject({
        url: pointUrl().describe("Its XCAP root: what stands before /pres-rules in its documents' addresses."),
        user: text("Who writes all users' rules there.").optional(),
        password: text("His password, for Digest, or for Basic over https or on this machine.").optional(),
        expresses: z
          .array(z.enum(EXPRESSIONS))
          .default(["identity"])
          .describe("What its rules can say, and it carries out; others are made stricter, or left out."),
      })
      .optional()
      .describe("Where it takes its users' rules from us (policy: { way: central })."),
  })
  .describe("One federated server.");

export const treeSchema = z
  .strictObject({
    root: server().describe("The server at the top."),
    children: z.record(z.string(), z.array(server()).min(1)).default({}).describe("Server -> the servers below it."),
  })
  .describe("A tree over servers, for the unioned hierarchical model.");

const match = aorPattern().describe("Which users: an address, where * stands for any run of characters.");

export const modelSchema = z
  .discriminatedUnion("model", [
    z
      .strictObject({ match, model: z.literal("partitioned") })
      .describe("The user lives on one server; it is found by asking."),
    z
      .strictObject({
        match,
        model: z.literal("exclusive"),
        conflict: z
          .enum(["takeover", "refuse"])
          .default("takeover")
          .describe("Who wins where two servers claim the user: the new one, or the holder."),
        "refuse-with": z
          .union([z.literal(403), z.literal(302)])
          .default(403)
          .describe("What the refused claim is answered."),
      })
      .describe("The user is on one server at a time, and moves."),
    z
      .strictObject({
        match,
        model: z.literal("unioned"),
        style: z.enum(["hierarchical", "peer"]).describe("How the servers are joined."),
        tree: z.string().optional().describe("hierarchical: the name of a tree."),
        servers: z.array(server()).min(1).optional().describe("peer: the servers the user is on."),
      })
      .describe("The user is on several servers at once."),
  ])
  .describe("Which model users have; the first match wins.");

const adminObject = z
  .strictObject({
    url: adminUrl().prefault("http://127.0.0.1:8060").describe("Where the admin API and page are served."),
    token: text("Bearer token; without one only a loopback address may be used.").optional(),
  })
  .prefault({})
  .describe("The admin API and page.");

const clients = z
  .strictObject({
    authenticate: z
      .enum(["none", "digest"])
      .default("none")
      .describe("digest: clients' REGISTER and requests are challenged."),
    realm: text("Realm of the challenge. Default: the first domain.").optional(),
    home: server().optional().describe("Where an unbound user's REGISTER goes, and a partitioned user's PUBLISH."),
  })
  .prefault({})
  .describe("What clients may do.");

const messages = z
  .strictObject({
    absent: z
      .enum(["refuse", "store"])
      .default("refuse")
      .describe("A MESSAGE for an unbound user, or a server that is down."),
    keep: duration(1000).prefault("24h").describe("How long a stored MESSAGE is kept."),
    remember: duration(1000)
      .prefault("24h")
      .describe(
        "How long a MESSAGE that waits no more is remembered: its trace, and that a second copy is no new one.",
      ),
    "per-recipient": count(1, 1_000_000).default(1000).describe("MESSAGEs stored for one user, at most."),
    "octets-per-recipient": size().prefault("8MiB").describe("Octets of them, at most."),
    "per-sender": count(1, 10_000_000).default(10_000).describe("MESSAGEs stored of one sender, at most."),
    routing: z
      .enum(["all", "mostactive", "roundrobin", "weighted"])
      .default("all")
      .describe("To which of a unioned user's servers his MESSAGEs go, where he has not set it himself."),
    copies: z
      .enum(["on", "off"])
      .default("on")
      .describe("What a unioned user writes from one of his servers is shown to his others (routing all)."),
  })
  .prefault({})
  .describe("MESSAGE requests that cannot be delivered now.");

const subscriptions = z
  .strictObject({
    hold: z
      .enum(["known", "any"])
      .default("known")
      .describe("Whose subscriptions are held while he is unbound; any is for labs."),
    "hold-events": z.array(text("An event package.")).default(["presence"]).describe("Event packages that are held."),
    unreachable: z
      .enum(["wait", "without"])
      .default("wait")
      .describe(
        "A composed subscription where a server cannot be asked: stay pending, or leave it out if its policy is none.",
      ),
    "longest-expiry": duration(60_000).prefault("1h").describe("The most that is granted to a watcher."),
    "shortest-expiry": duration(0)
      .prefault("30s")
      .describe("A watcher that asks for less is answered 423 Interval Too Brief; 0s: anything goes."),
    "notify-interval": duration(0)
      .prefault("0s")
      .describe("Least distance of two NOTIFYs to a watcher, the last state wins; 0s: the servers' own pace."),
    "per-watcher": count(1, 10_000_000).default(2_000).describe("Kept of one watcher by one proxy, at most."),
    "per-user": count(1, 10_000_000).default(100_000).describe("Kept to one user by one proxy, at most."),
    "per-origin": count(1, 10_000_000).default(1_000_000).describe("Kept from one server by one proxy, at most."),
    most: count(1, 10_000_000).default(1_500_000).describe("Kept by one proxy, at most."),
  })
  .prefault({})
  .describe("Subscriptions that are held or composed.");

const exclusive = z
  .strictObject({
    grace: duration(0)
      .prefault("5s")
      .describe("A registration outlives its expiry by this, so that a refresh a little late moves nobody."),
    flaps: count(0, 10_000)
      .default(6)
      .describe("How often at a stretch servers may take one user from each other; 0: as often as they like."),
    "flap-window": duration(1000)
      .prefault("1m")
      .describe(
        "Over so long `flaps` takings are forgotten; so long the user must be left alone after one was refused.",
      ),
  })
  .prefault({})
  .describe("Claims of servers in the exclusive model.");

const reconcile = z
  .strictObject({
    "users-per-second": count(0, 1000)
      .default(1)
      .describe(
        "Users whose server is asked whether it has them, at most; 0: none. Asked are servers that prove OPTIONS.",
      ),
    rest: duration(1000).prefault("10m").describe("From the end of one round over all users to the next."),
  })
  .prefault({})
  .describe("The slow check of the directory of exclusive users against what their servers say.");

const timers = z
  .strictObject({
    t1: duration().prefault("500ms").describe("Round-trip estimate (RFC 3261 17.1.1.1)."),
    t2: duration().prefault("4s").describe("Longest retransmission interval."),
    t4: duration().prefault("5s").describe("How long a message stays in the network."),
    c: duration(1000).prefault("181s").describe("Longest wait for the end of an INVITE (RFC 3261 16.6)."),
  })
  .prefault({})
  .describe("Timers of RFC 3261.");

const limits = z
  .strictObject({
    "messages-per-second": count(0, 10_000_000)
      .default(5000)
      .describe("From one source address that is no server's; 0: no limit."),
    connections: count(1, 1_000_000).default(10_000).describe("Open connections in all."),
    "connections-per-source": count(1, 1_000_000)
      .default(256)
      .describe("Connections from one address that is no server's."),
    "connection-idle": duration(1000).prefault("10m").describe("A connection without traffic is closed after this."),
    transactions: count(100, 10_000_000)
      .default(500_000)
      .describe("Live transactions; more requests are answered 503."),
    "completed-bytes": size()
      .prefault("768MiB")
      .describe("Memory for completed transactions, which answer retransmissions."),
    "cache-entries": count(100, 100_000_000).default(1_000_000).describe("Users whose place is kept in memory."),
  })
  .prefault({})
  .describe("Bounds: what goes over them is refused, not queued.");

const health = z
  .strictObject({
    interval: duration(0).prefault("10s").describe("Between two OPTIONS probes of a node; 0s: no probes."),
    timeout: duration(100).prefault("4s").describe("A probe without an answer for so long has failed."),
    failures: count(1, 1000).default(3).describe("Consecutive failures that take a node out of rotation."),
  })
  .prefault({})
  .describe("How servers that do not answer are noticed.");

const logging = z
  .strictObject({
    level: z
      .enum(["off", "error", "warn", "info", "debug"])
      .default("info")
      .describe("info writes one line a request; off writes and costs nothing."),
  })
  .prefault({})
  .describe("JSON lines on standard output.");

const capture = z
  .strictObject({
    hep: collectorUrl().describe("Where the collector listens for HEP version 3: udp://ADDRESS:PORT."),
    agent: count(1, 4_294_967_295).default(2001).describe("This proxy's capture agent id."),
    key: text("What the collector asks agents for.").max(256).optional(),
  })
  .optional()
  .describe("A copy of every message, body and credentials included, to a Homer collector. Default: none.");

/** Sections that stand by themselves; the collections are read element by element (`resolve.ts`). */
export const sections = {
  domain: hostName("domain").optional().describe("The domain served. Default: example.com."),
  domains: z.array(hostName("domain")).min(1).optional().describe("The domains served, where they are several."),
  "proxy-name": text("This proxy's name among those on one database. Default: host name and first port.")
    .max(128)
    .optional(),
  database: databaseUrl()
    .prefault("embedded")
    .describe("embedded (data under ./data), embedded:/path, or postgres://user@host/database."),
  admin: adminObject,
  clients,
  messages,
  subscriptions,
  exclusive,
  reconcile,
  policy,
  routing: z
    .enum(["proxy", "redirect"])
    .default("proxy")
    .describe("Relay requests, or answer 302 with the user's server."),
  "decision-time": duration(100).prefault("8s").describe("Within this a forked request other than INVITE is decided."),
  recurse: z.boolean().default(false).describe("Follow 3xx answers of servers instead of forwarding them."),
  timers,
  limits,
  health,
  learned: duration(1000).prefault("24h").describe("How long a learned place of a user is believed."),
  "absent-memory": duration(0).prefault("10s").describe("How long it is remembered that every server said 404."),
  logging,
  capture,
} as const;

export const configSchema = z
  .strictObject({
    ...sections,
    listen: z
      .array(z.union([listenTextSchema, listenObjectSchema]))
      .min(1)
      .prefault([...DEFAULT_LISTEN])
      .describe("Where SIP is spoken. Default: udp and tcp on 127.0.0.1:5060, ws on 127.0.0.1:5066."),
    servers: z.record(z.string(), serverSchema).describe("The servers of the domain, by name."),
    trees: z.record(z.string(), treeSchema).default({}).describe("Trees over servers, by name."),
    models: z
      .array(modelSchema)
      .default([])
      .describe("Which model users have; the first match wins, otherwise partitioned."),
  })
  .describe("Configuration of codomain.");

export const TOP_KEYS: readonly string[] = Object.keys(configSchema.shape);
