import { ALLOWED, isGoverned, type Policy, type Question, type WatcherVerdict } from "../policy/policy.ts";
import type { Timers } from "../runtime/runtime.ts";
import type { Content } from "./documents.ts";
import type { GateDesk, GateListener } from "./gate-desk.ts";
import type { Subscription } from "./subscription.ts";
import { closedFor, isSameContent, Spheres, Veils } from "./veil.ts";

/** A verdict that is being asked for. */
interface Asking {
  /** The one before. */
  readonly before: WatcherVerdict | null;
  /** Something was to be shown meanwhile. */
  withheld: boolean;
}

/**
 * What a watcher may see of what there is (models.md, "Identity and policy"): the one place where a document becomes what
 * is sent. Nothing is shown while a verdict is not known.
 *
 * | verdict | the watcher | legs |
 * |---|---|---|
 * | block | 403; later `terminated;reason=rejected` | end |
 * | confirm | `pending`; who was active already is shown closed, for no machine goes back to pending | none: nothing is to be shown |
 * | polite-block | `active`, closed, and no more NOTIFYs but for his own refreshes | none |
 * | allow | the documents, transformed | as ever |
 * | not known | as he is; nothing is shown | stay, none are opened |
 *
 * A watcher that is one of the user's own servers is never shown him closed: to it that is consent. It is pending, or asks again.
 *
 * A verdict is a pointer in the subscription; it is asked for again where the policy says that it may have changed, at its
 * `until`, and by whoever takes the subscription over. Where no policy is active each question here is one comparison.
 */
export class Gate {
  readonly #desk: GateDesk;
  readonly #policy: Policy;
  readonly #timers: Timers;
  readonly #waitMs: number;
  readonly #veils = new Veils();
  readonly #spheres = new Spheres();
  readonly #asking = new Map<Subscription, Asking>();
  /** Changes the policy has told of. */
  #changes = 0;
  /** The last of them that was about everybody. */
  #allFrom = 0;
  #atTheDoor = 0;
  /** How often something was shown because a verdict was another. */
  #shows = 0;
  #stop: (() => void) | null = null;
  listener: GateListener | null = null;

  /** @param waitMs a SUBSCRIBE waits this long for its verdict. */
  constructor(desk: GateDesk, policy: Policy, timers: Timers, waitMs: number) {
    this.#desk = desk;
    this.#policy = policy;
    this.#timers = timers;
    this.#waitMs = waitMs;
  }

  start(): void {
    this.#stop = this.#policy.onChange((aor) => this.#changed(aor));
  }

  stop(): void {
    this.#stop?.();
    this.#stop = null;
  }

  clear(): void {
    this.#asking.clear();
  }

  /** Something is decided here at all. */
  get active(): boolean {
    return this.#policy.active;
  }

  governs({ kind, aor }: Pick<Subscription, "kind" | "aor">): boolean {
    return this.#policy.active && (kind === "presence" || kind === "composed") && isGoverned(this.#policy, aor);
  }

  /** Verdicts asked for at the door are of this moment: `enter` compares it. */
  get changes(): number {
    return this.#changes;
  }

  // ── At the door ───────────────────────────────────────────────────────────────────────────────────────────────────

  /** Null: nobody could say in time, or too many wait. */
  ask(question: Question): WatcherVerdict | Promise<WatcherVerdict | null> | null {
    const answer = this.#asked(question);
    if (!(answer instanceof Promise)) return answer.known ? answer : null;
    if (this.#atTheDoor >= MOST_AT_THE_DOOR) return null;
    this.#atTheDoor++;
    return new Promise((resolve, reject) => {
      const late = this.#timers.after(this.#waitMs, () => resolve(null));
      answer
        .then((verdict) => resolve(verdict.known ? verdict : null), reject)
        .finally(() => {
          late.cancel();
          this.#atTheDoor--;
        });
    });
  }

  /** It was let in under this verdict. @param asked `changes` when it was asked for. */
  enter(subscription: Subscription, verdict: WatcherVerdict | null, asked: number): void {
    if (verdict === null) return;
    subscription.judged = asked;
    this.#set(subscription, verdict);
  }

  /** Its row stands: what has changed since it was let in is asked for before anything is done. `settle` follows. */
  recheck(subscription: Subscription): void {
    if (this.governs(subscription) && subscription.judged < this.#changes) this.adopt(subscription);
  }

  /** Taken over: asked for before anything is shown. `settle` follows. */
  adopt(subscription: Subscription): void {
    this.#ask(subscription, (verdict, asking) => {
      this.#set(subscription, verdict);
      if (asking !== undefined && !subscription.ending) this.#act(subscription, null, verdict, asking.withheld);
    });
  }

  /**
   * Its row stands, and where its user is is known: what the verdict brings with it.
   * @param isNew false: it was taken over.
   */
  settle(subscription: Subscription, isNew = true): void {
    if (!this.governs(subscription) || subscription.ending) return;
    if (subscription.judged < this.#changes) return this.judge(subscription);
    const { verdict } = subscription;
    if (verdict === null) return;
    const handling = this.#handling(subscription, verdict);
    if (handling === "block") this.#desk.reject(subscription);
    else if (this.#isMisled(subscription, handling)) return this.#desk.deactivate(subscription);
    else if (subscription.active) subscription.veiled = this.shown(subscription);
    else if (handling === "polite-block") this.#desk.show(subscription);
    if (isNew || handling === "confirm") this.listener?.judged(subscription);
  }

  /** A fetch for which nobody is asked: whom it was refused may yet want to know. */
  putOff(subscription: Subscription): void {
    if (this.governs(subscription)) this.listener?.judged(subscription);
  }

  ended(subscription: Subscription): void {
    if (this.governs(subscription)) this.listener?.watcherEnded(subscription);
  }

  // ── Afterwards ────────────────────────────────────────────────────────────────────────────────────────────────────

  /** Asks again, and does what follows from the answer. */
  judge(subscription: Subscription): void {
    const { before, withheld } = this.#asking.get(subscription) ?? { before: subscription.verdict, withheld: false };
    this.#ask(subscription, (verdict, asking) => {
      this.#set(subscription, verdict);
      if (subscription.stored && !subscription.ending)
        this.#act(subscription, before, verdict, withheld || asking?.withheld === true);
    });
  }

  #ask(subscription: Subscription, take: (verdict: WatcherVerdict, asking?: Asking) => void): void {
    if (!this.governs(subscription)) return;
    const { watcher, trusted, aor, event, sphere } = subscription;
    const before = this.#asking.get(subscription)?.before ?? subscription.verdict;
    subscription.judged = this.#changes;
    subscription.judgeAt = 0;
    const answer = this.#asked({ watcher, trusted, aor, event, sphere: sphere ?? null });
    if (!(answer instanceof Promise)) {
      this.#asking.delete(subscription);
      return take(answer);
    }
    const asking: Asking = { before, withheld: false };
    subscription.verdict = null;
    this.#asking.set(subscription, asking);
    answer
      .then((verdict) => {
        // Asked again meanwhile, it is the later answer that counts.
        if (this.#asking.get(subscription) !== asking) return;
        this.#asking.delete(subscription);
        if (this.#desk.isOurs(subscription)) take(verdict, asking);
      })
      .catch((error: Error) => this.#desk.failed("a verdict could not be acted upon", error));
  }

  /** What goes wrong at one verdict concerns nobody else, and shows nobody anything. */
  #asked(question: Question): WatcherVerdict | Promise<WatcherVerdict> {
    try {
      const answer = this.#policy.watcher(question);
      return answer instanceof Promise ? answer.catch((error: Error) => this.#unasked(error)) : answer;
    } catch (error) {
      return this.#unasked(error as Error);
    }
  }

  #unasked(error: Error): WatcherVerdict {
    this.#desk.failed("a verdict could not be had", error);
    return { ...ALLOWED, handling: "block", known: false, until: this.#desk.moment().wall + ASKED_AGAIN_MS };
  }

  #set(subscription: Subscription, verdict: WatcherVerdict): void {
    const { now, wall } = this.#desk.moment();
    subscription.verdict = verdict;
    if (subscription.ending) return;
    subscription.judgeAt = verdict.until === null ? 0 : Math.max(now + LEAST_AGAIN_MS, verdict.until - wall + now);
    this.#desk.arm(subscription);
  }

  #act(subscription: Subscription, before: WatcherVerdict | null, verdict: WatcherVerdict, withheld: boolean): void {
    const handling = this.#handling(subscription, verdict);
    const was = before === null ? null : this.#handling(subscription, before);
    if (was !== handling) this.listener?.judged(subscription);
    if (handling === "block") return this.#desk.reject(subscription);
    if (this.#isMisled(subscription, handling)) return this.#desk.deactivate(subscription);
    this.#desk.rejudged(subscription);
    const same = was === handling && before?.transformKey === verdict.transformKey;
    if (subscription.ending || (same && !withheld)) return;
    const isToBeShown =
      handling === "allow" ? hasShown(subscription) : handling === "polite-block" || subscription.active;
    if (!isToBeShown) return;
    this.#desk.show(subscription);
    this.#shows++;
  }

  #changed(aor: string | null): void {
    this.#changes++;
    if (aor !== null) {
      for (const each of this.#desk.ofUser(aor)) this.judge(each);
      return;
    }
    this.#allFrom = this.#changes;
    this.#desk.each((each) => {
      if (each.verdict !== null && !this.governs(each)) this.#release(each);
      else if (each.judged < this.#allFrom) this.judge(each);
    });
  }

  /** Nobody decides here any more. */
  #release(subscription: Subscription): void {
    const { veiled } = subscription;
    subscription.verdict = null;
    subscription.veiled = null;
    subscription.judgeAt = 0;
    if (subscription.ending) return;
    this.#desk.rejudged(subscription);
    const { content } = subscription;
    const isNew = content !== null && (veiled === null || !isSameContent(veiled, content));
    if (isNew && hasShown(subscription)) this.#desk.show(subscription);
  }

  // ── What is shown ─────────────────────────────────────────────────────────────────────────────────────────────────

  /**
   * Whether legs are to be opened and kept; null: it is not known, so all stays as it is. A verdict that is another in
   * another sphere (RFC 5025 3.1.2) needs the documents to be found out by.
   */
  follows(subscription: Subscription): boolean | null {
    if (!this.governs(subscription)) return true;
    const { verdict } = subscription;
    if (verdict === null || !verdict.known) return null;
    return verdict.handling === "allow" || (verdict.bySphere && this.#handling(subscription, verdict) !== "block");
  }

  /** He may see all there is, so that his SUBSCRIBE may be passed on. */
  isOpen(subscription: Subscription): boolean {
    const { verdict } = subscription;
    if (!this.governs(subscription)) return true;
    return verdict?.known === true && verdict.handling === "allow" && verdict.transform === null && !verdict.bySphere;
  }

  /** True: he is to take the user for one who is nowhere. */
  showsClosed(subscription: Subscription): boolean {
    const { verdict } = subscription;
    return this.governs(subscription) && verdict !== null && this.#handling(subscription, verdict) === "polite-block";
  }

  /** True: what there is now is to be told to the watcher. */
  hasNews(subscription: Subscription): boolean {
    if (!this.governs(subscription)) return true;
    const shows = this.#shows;
    const verdict = this.#verdictOf(subscription);
    // It was shown already, by what followed from the verdict.
    if (shows !== this.#shows) return false;
    if (verdict === null) {
      const asking = this.#asking.get(subscription);
      if (asking !== undefined) asking.withheld = true;
      return false;
    }
    const handling = this.#handling(subscription, verdict);
    if (handling === "block" || (handling === "confirm" && !subscription.active)) return false;
    if (this.#isMisled(subscription, handling)) return false;
    const { veiled } = subscription;
    const next = this.shown(subscription);
    if (handling === "allow" && verdict.transform === null) {
      subscription.veiled = null;
      return veiled === null || next === null || !isSameContent(veiled, next);
    }
    // What was taken out of it is not to be told by when a NOTIFY comes, either.
    if (subscription.active && veiled !== null && next !== null && isSameContent(veiled, next)) return false;
    subscription.veiled = next;
    return true;
  }

  /** What a NOTIFY that leaves now may carry. */
  shown(subscription: Subscription): Content | null {
    const { content } = subscription;
    if (!this.governs(subscription)) return content;
    const verdict = this.#verdictOf(subscription);
    const shown = verdict === null ? null : this.#through(subscription, verdict);
    if (shown !== content) content?.skipped?.();
    return shown;
  }

  #through(subscription: Subscription, verdict: WatcherVerdict): Content | null {
    const { aor, event, content } = subscription;
    const handling = this.#handling(subscription, verdict);
    if (this.#isMisled(subscription, handling)) return null;
    switch (handling) {
      case "allow":
        return content === null ? null : this.#veiled(content, verdict, aor);
      case "block":
        return null;
      default:
        return event === "presence" ? closedFor(aor) : null;
    }
  }

  /**
   * One of the user's own servers is shown nothing politely: `active` is consent to it (draft, "Distributed Provisioning"), and
   * what it has itself it would go on showing. It waits, pending.
   */
  #handling(subscription: Subscription, verdict: WatcherVerdict): WatcherVerdict["handling"] {
    const handling = handlingFor(subscription, verdict);
    return handling === "polite-block" && this.#desk.isMember(subscription) ? "confirm" : handling;
  }

  /** It was told `active` while it might, and takes that for consent: it is to ask again, and wait. */
  #isMisled(subscription: Subscription, handling: WatcherVerdict["handling"]): boolean {
    const { active, verdict } = subscription;
    return handling === "confirm" && active && verdict?.known === true && this.#desk.isMember(subscription);
  }

  #veiled(content: Content, verdict: WatcherVerdict, aor: string): Content {
    try {
      return this.#veils.under(content, verdict, aor);
    } catch (error) {
      this.#desk.failed("a document could not be transformed", error as Error);
      return closedFor(aor);
    }
  }

  /** As it is now: one that may be another by what has changed since, or is in the document, is asked for again first. */
  #verdictOf(subscription: Subscription): WatcherVerdict | null {
    const { stored, judged, judgeAt, verdict, content } = subscription;
    const isOld = judged < (stored ? this.#allFrom : this.#changes);
    const isElsewhere = verdict?.bySphere === true && content !== null && this.#isInSphere(subscription, content);
    if (isOld || isElsewhere || (judgeAt > 0 && judgeAt <= this.#desk.moment().now)) this.judge(subscription);
    return subscription.verdict;
  }

  /** True: he has moved to this sphere. */
  #isInSphere(subscription: Subscription, content: Content): boolean {
    const sphere = this.#spheres.in(content);
    if (sphere === subscription.sphere) return false;
    subscription.sphere = sphere;
    return true;
  }
}

const MOST_AT_THE_DOOR = 10_000;
const ASKED_AGAIN_MS = 10_000;
/** A verdict that has run out already is not asked for in a circle. */
const LEAST_AGAIN_MS = 1_000;

/** Where nobody could be asked nothing is shown, and nobody is turned away for good. */
export function handlingOf({ handling, known }: WatcherVerdict): WatcherVerdict["handling"] {
  return known ? handling : "confirm";
}

/** A rule for another sphere (RFC 5025 3.1.2) may let him in: nobody is turned away before it is known where the user is. */
function handlingFor({ sphere }: Subscription, verdict: WatcherVerdict): WatcherVerdict["handling"] {
  const handling = handlingOf(verdict);
  return handling === "block" && verdict.bySphere && sphere === undefined ? "confirm" : handling;
}

/** Some server has said what may be shown. */
function hasShown({ content, leg, kind }: Subscription): boolean {
  return content !== null && (kind !== "presence" || leg === null || leg.active);
}
