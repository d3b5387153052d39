import { Deliverer } from "./deliverer.ts";
import { Keeper } from "./keeper.ts";
import { Notifier } from "./notifier.ts";
import type { DeliveryOptions } from "./options.ts";
import type { MessagingParts } from "./ports.ts";

/** Stored messages of one proxy: what keeps them, and what delivers them. */
export interface Messaging {
  readonly keeper: Keeper;
  readonly deliverer: Deliverer;
}

export function createMessaging(parts: MessagingParts, options: DeliveryOptions): Messaging {
  const notifier = new Notifier(parts, () => deliverer.stored(true));
  const deliverer = new Deliverer(parts, notifier, options);
  return { keeper: new Keeper(parts, deliverer, options), deliverer };
}
