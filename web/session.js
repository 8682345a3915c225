/*
 * The login session.
 *
 * Only this module holds the access token. The refresh token is in a cookie that no script can read and that the
 * browser sends only to /api/auth/v1/browser/. A mark in localStorage says whether the cookie exists, so that visitors
 * without an account send no requests that must fail.
 *
 * A reused refresh token ends its session, so tabs renew in turn, by a Web Lock that all tabs share. (Web Locks need
 * https or localhost; elsewhere the server accepts a reused token for ten seconds.)
 */

import { send } from "./http.js";

const BROWSER = "/api/auth/v1/browser";
// A header that another site's form or script can't send without a CORS preflight.
const OWN = { "X-Tandem-Browser": "1" };
const MARK = "tandem.session";
const RENEW_AHEAD_MILLISECONDS = 30_000;

let token = null;
let expiresAt = 0;
let renewsAt = 0;
let renewing = null;

const tabs = new BroadcastChannel("tandem.session");

class Session extends EventTarget {
  /** `{ id, username, name, role, scopes }`, or null. A change dispatches `change`, an end by the server `ended`. */
  user = null;

  /** Whether the user has a scope such as "users:read". */
  may(scope) {
    return this.user?.scopes.includes(scope) ?? false;
  }

  get isMarked() {
    return localStorage.getItem(MARK) !== null;
  }

  /** Restore an earlier session. Throws `ApiError` if the service doesn't respond. */
  async restore() {
    if (this.isMarked) await this.renew();
  }

  /** Sign up. Resolves to false if the user must confirm the email before the first login. */
  async register(form, signal) {
    return inTurn(async () => {
      const { status, data } = await browser("register", { body: form, signal });
      if (status !== 202) this.#begin(data);
      return status !== 202;
    });
  }

  async logIn(credentials, signal) {
    await inTurn(async () => this.#begin((await browser("login", { body: credentials, signal })).data));
  }

  async logOut() {
    await inTurn(async () => {
      await browser("logout");
      this.forget();
    });
  }

  /** A valid token, or null. Throws `ApiError` if the token has expired and the service doesn't respond. */
  async accessToken() {
    if (this.user !== null && Date.now() > renewsAt) {
      await this.renew().catch((error) => {
        if (Date.now() >= expiresAt) throw error;
      });
    }
    return token;
  }

  /**
   * Get a new access token, in turn with the other tabs. If the session has ended, the user is logged out. Without a
   * response this throws an `ApiError`, and the session may continue later.
   */
  async renew() {
    renewing ??= inTurn(() => this.#exchange()).finally(() => (renewing = null));
    await renewing;
  }

  /** Log out in this tab and, unless `broadcast` is false, in the others. */
  forget({ broadcast = true } = {}) {
    token = null;
    expiresAt = renewsAt = 0;
    if (broadcast) {
      localStorage.removeItem(MARK);
      tabs.postMessage("ended");
    }
    this.#become(null);
  }

  async #exchange() {
    // Another tab may have logged out while this one waited.
    if (!this.isMarked) return this.forget({ broadcast: false });
    try {
      const { data } = await browser("refresh");
      this.#take(data);
    } catch (error) {
      if (error.status !== 401) throw error;
      this.forget();
      this.dispatchEvent(new Event("ended"));
    }
  }

  #begin(tokens) {
    localStorage.setItem(MARK, "1");
    this.#take(tokens);
    tabs.postMessage("begun");
  }

  #take(tokens) {
    token = tokens.access_token;
    const lifetime = tokens.expires_in * 1000;
    expiresAt = Date.now() + lifetime;
    // The last tokens of a session are short; half of their time is enough to renew them.
    renewsAt = expiresAt - Math.min(RENEW_AHEAD_MILLISECONDS, lifetime / 2);
    const { sub, username, name, role, scope } = claimsOf(token);
    this.#become({ id: sub, username, name, role, scopes: scope.split(" ") });
  }

  #become(user) {
    const isSame = JSON.stringify(user) === JSON.stringify(this.user);
    this.user = user;
    if (!isSame) this.dispatchEvent(new Event("change"));
  }
}

export const session = new Session();

tabs.addEventListener("message", ({ data }) => {
  if (data === "ended" && session.user !== null) session.forget({ broadcast: false });
  // After a login in another tab the cookie may belong to another user.
  if (data === "begun") session.renew().catch(() => {});
});

async function browser(call, options = {}) {
  return send("POST", `${BROWSER}/${call}`, { ...options, headers: OWN, cache: "no-store" });
}

function inTurn(work) {
  return navigator.locks ? navigator.locks.request("tandem.session", work) : work();
}

/** The claims of a token. They are not verified here: the services do that. */
function claimsOf(jwt) {
  const payload = jwt.split(".")[1].replaceAll("-", "+").replaceAll("_", "/");
  const bytes = Uint8Array.from(atob(payload), (character) => character.charCodeAt(0));
  return JSON.parse(new TextDecoder().decode(bytes));
}
