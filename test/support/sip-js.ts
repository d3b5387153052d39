import {
  Messager,
  Registerer,
  RegistererState,
  Subscriber,
  SubscriptionState,
  UserAgent,
  type UserAgentOptions,
} from "sip.js";
import { WebSocket } from "ws";
import { eventually } from "./child.ts";

// sip.js is written for browsers; in Node it takes the WebSocket it is given.
Object.assign(globalThis, { WebSocket });

export interface BrowserOptions {
  readonly aor: string;
  readonly server: string;
  readonly password?: string;
}

export interface Received {
  readonly from: string;
  readonly body: string;
}

export interface Notified {
  readonly state: string;
  readonly body: string;
}

export interface Watching {
  readonly notified: readonly Notified[];
  end(): Promise<void>;
}

/** A real user agent over WebSocket (RFC 7118), as it runs in a browser. */
export interface Browser {
  readonly messages: readonly Received[];
  /** Status of the final answer. */
  register(): Promise<number>;
  unregister(): Promise<number>;
  message(to: string, text: string): Promise<number>;
  /** Subscribes to presence; rejects where the SUBSCRIBE is. */
  watch(aor: string): Promise<Watching>;
  publish(document: string): Promise<number>;
  close(): Promise<void>;
}

export async function browser(options: BrowserOptions): Promise<Browser> {
  const uri = address(options.aor);
  const messages: Received[] = [];
  const settings: UserAgentOptions = {
    uri,
    transportOptions: { server: options.server, keepAliveInterval: 0 },
    authorizationUsername: uri.user ?? "",
    authorizationPassword: options.password ?? "",
    logBuiltinEnabled: false,
    delegate: {
      onMessage: (message) => {
        messages.push({ from: message.request.from.uri.toString(), body: message.request.body });
        void message.accept();
      },
    },
  };
  const ua = new UserAgent(settings);
  await ua.start();
  const registerer = new Registerer(ua, { expires: 600 });

  const answered = (
    send: (delegate: { onAccept: (r: Answer) => void; onReject: (r: Answer) => void }) => Promise<unknown>,
  ): Promise<number> =>
    new Promise((resolve, reject) => {
      const settle = (answer: Answer): void => resolve(answer.message.statusCode ?? 0);
      send({ onAccept: settle, onReject: settle }).catch(reject);
    });

  return {
    messages,
    register: async () => {
      const status = await answered((requestDelegate) => registerer.register({ requestDelegate }));
      if (status === 200) await eventually("the registration", () => registerer.state === RegistererState.Registered);
      return status;
    },
    unregister: () => answered((requestDelegate) => registerer.unregister({ requestDelegate })),
    message: (to, text) =>
      answered((requestDelegate) => new Messager(ua, address(to), text).message({ requestDelegate })),
    watch: async (aor) => {
      const notified: Notified[] = [];
      const subscriber = new Subscriber(ua, address(aor), "presence", {
        expires: 600,
        extraHeaders: ["Accept: application/pidf+xml"],
        delegate: {
          onNotify: (notification) => {
            notified.push({
              state: notification.request.getHeader("Subscription-State") ?? "",
              body: notification.request.body,
            });
            void notification.accept();
          },
        },
      });
      await subscriber.subscribe();
      await eventually(`a NOTIFY about ${aor}`, () => subscriber.state !== SubscriptionState.NotifyWait);
      if (subscriber.state !== SubscriptionState.Subscribed) throw new Error(`the SUBSCRIBE for ${aor} was refused`);
      return { notified, end: () => subscriber.unsubscribe() };
    },
    publish: (document) =>
      answered((delegate) => {
        const core = ua.userAgentCore;
        const message = core.makeOutgoingRequestMessage(
          "PUBLISH",
          uri,
          uri,
          uri,
          {},
          ["Event: presence", "Expires: 600"],
          { contentDisposition: "render", contentType: "application/pidf+xml", content: document },
        );
        core.publish(message, delegate);
        return Promise.resolve();
      }),
    close: async () => {
      await ua.stop();
    },
  };
}

interface Answer {
  readonly message: { readonly statusCode: number | undefined };
}

function address(aor: string) {
  const uri = UserAgent.makeURI(`sip:${aor}`);
  if (uri === undefined) throw new Error(`${aor} is no address`);
  return uri;
}
