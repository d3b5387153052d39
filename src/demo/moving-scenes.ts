import { at, type ExampleDomain } from "./domain.ts";
import { isOpen, markOf } from "./presence-agent.ts";
import { type Check, is, plan, type Scene } from "./scene.ts";
import type { Notified, Watch } from "./watches.ts";

const USER = "dora.mobile";
const AOR = at(USER);

/** A user who comes, moves and goes while somebody watches her: five scenes and one subscription (models.md, "Exclusive"). */
export function movingScenes(): readonly Scene[] {
  let watch: Watch | undefined;
  const expected: string[] = [];

  /** Waits for what bob sees next, and compares all that he has seen. */
  const saw = async (domain: ExampleDomain, next: string): Promise<Check> => {
    expected.push(next);
    await domain.until(() => (watch?.notified.length ?? 0) >= expected.length);
    await domain.quiet();
    return is(
      `what bob has seen so far: ${expected.join(", ")}`,
      watch?.notified.map(inWords).join(", "),
      expected.join(", "),
    );
  };

  return [
    {
      title: "bob on north watches dora.mobile, who is exclusive and nowhere: the proxy holds his subscription.",
      play: async (domain) => {
        await domain.proxy.directory.putUser({ aor: AOR, model: null, settings: {}, identities: {} }, "demo");
        // They want to hear of users who are taken away from them (RFC 3680).
        for (const server of [domain.east, domain.west]) await server.registrations();
        await domain.quiet();
        domain.ladder();
        watch = await domain.north.watch("bob", AOR);
        return [
          is("answered 200", watch.answer?.status, 200),
          await saw(domain, "pending"),
          is(
            "no server was asked",
            `${domain.east.seen("SUBSCRIBE", USER)} ${domain.west.seen("SUBSCRIBE", USER)}`,
            "0 0",
          ),
          await plan(domain, "SUBSCRIBE", USER, "hold"),
        ];
      },
    },
    {
      title: "dora logs in on east, which claims her: his subscription is extended there at once.",
      play: async (domain) => {
        const claim = await domain.east.login(USER);
        return [
          is("the claim was answered 200", claim?.status, 200),
          await saw(domain, "online at east"),
          is("east knows him as bob", domain.east.accepted(USER)[0]?.watcher, `sip:${at("bob")}`),
        ];
      },
    },
    {
      title: "She moves to west. East is told, its last words are swallowed; bob notices nothing but her new document.",
      play: async (domain) => {
        const claim = await domain.west.login(USER);
        const seen = await saw(domain, "online at west");
        await domain.until(() => domain.east.evicted.length > 0);
        await domain.quiet();
        return [
          is("the claim was answered 200", claim?.status, 200),
          seen,
          is(
            "east let her go",
            domain.east.evicted.map(({ user, by }) => `${user} by ${by}`).join(),
            `${USER} by reg event`,
          ),
          is("and has no dialog left", domain.east.accepted(USER).length, 0),
        ];
      },
    },
    {
      title: "She goes away: one document with nothing open. The subscription stays, and is held again.",
      play: async (domain) => {
        const gone = await domain.west.logout(USER);
        return [
          is("answered 200", gone?.status, 200),
          await saw(domain, "offline"),
          await plan(domain, "SUBSCRIBE", USER, "hold"),
        ];
      },
    },
    {
      title: "She comes back, on east. bob has had one dialog all along; he ends it.",
      play: async (domain) => {
        await domain.east.login(USER);
        const seen = await saw(domain, "online at east");
        const ended = await watch?.refresh(0);
        await domain.until(() => watch?.ended === true);
        await domain.quiet();
        const notified = watch?.notified ?? [];
        return [
          seen,
          is("no NOTIFY was lost or went back", cseqs(notified), notified.map((_, i) => i + 1).join(" ")),
          is("the end was answered 200", ended?.status, 200),
          is("and told", notified.at(-1)?.state, "terminated;reason=timeout"),
          is("east has no dialog left either", domain.east.accepted(USER).length, 0),
        ];
      },
    },
  ];
}

/** `pending`; or what an active NOTIFY shows: of which server, or nobody online. */
function inWords({ state, document }: Notified): string {
  const phase = state.split(";")[0] ?? "";
  if (phase !== "active") return phase;
  return isOpen(document) ? `online at ${markOf(document)?.server}` : "offline";
}

/** Counted from the first. */
function cseqs(notified: readonly Notified[]): string {
  const first = notified[0]?.cseq ?? 0;
  return notified.map(({ cseq }) => cseq - first + 1).join(" ");
}
