import type { ListedSubscription, StoredSubscription, TakenSubscription } from "../subscriptions.ts";

/** The columns of a subscription, of the row `r`. */
export const COLUMNS = `r.id, r.kind, r.aor, r.watcher, r.origin, r.event, r.owner, r.fence::float8 as fence, r.dialog,
  extract(epoch from r.expires_at)::float8 * 1000 as expires, r.notify_reserved::float8 as notify_reserved, r.leg,
  r.leg_server, r.leg_reserved::float8 as leg_reserved, r.extended_epoch::float8 as extended_epoch`;

export interface SubscriptionRow {
  readonly id: string;
  readonly kind: StoredSubscription["kind"];
  readonly aor: string;
  readonly watcher: string;
  readonly origin: string | null;
  readonly event: string;
  readonly owner: string;
  readonly fence: number;
  readonly dialog: string;
  readonly expires: number;
  readonly notify_reserved: number;
  readonly leg: string | null;
  readonly leg_server: string | null;
  readonly leg_reserved: number;
  readonly extended_epoch: number;
}

export interface SlotRow {
  readonly server: string | null;
  readonly epoch: number;
}

export function subscriptionOf(row: SubscriptionRow): StoredSubscription {
  const { id, kind, aor, watcher, origin, event, fence, dialog, leg } = row;
  return {
    id,
    kind,
    aor,
    watcher,
    origin,
    event,
    fence,
    dialog,
    leg,
    expiresAt: Math.round(row.expires),
    notifyReserved: row.notify_reserved,
    legServer: row.leg_server,
    legReserved: row.leg_reserved,
    extendedEpoch: row.extended_epoch,
  };
}

export function listedOf(row: SubscriptionRow): ListedSubscription {
  return { ...subscriptionOf(row), owner: row.owner };
}

export function takenOf(row: SubscriptionRow & SlotRow): TakenSubscription {
  return { subscription: subscriptionOf(row), slot: { server: row.server, epoch: row.epoch } };
}
