/*
 * Who is logged in.
 *
 * The access token is kept in this module and nowhere else. The refresh token is in a cookie that no script can read
 * and that the browser sends to /api/auth/v1/browser/ alone. That there is one is noted in localStorage, so that
 * visitors without an account cause no requests that must fail.
 *
 * A spent refresh token ends its session, so tabs renew one after the other: the Web Locks API is shared by all
 * tabs. (It needs https or localhost; elsewhere the server's ten seconds of grace have to do.)
 */

import { send } from "./http.js";

const BROWSER = "/api/auth/v1/browser";
// What another site's form or script can't send along without asking first.
const OWN = { "X-Tandem-Browser": "1" };
const MARK = "tandem.session";
const RENEW_AHEAD_MILLISECONDS = 30_000;

let token = null;
let expiresAt = 0;
let renewing = null;

const tabs = new BroadcastChannel("tandem.session");

class Session extends EventTarget {
  /** `{ id, username, name, role, scopes }`, or null. Changes are told by `change`, an end against one's will by `ended`. */
  user = null;

  /** Is this somebody with a permission, as in "users:read"? */
  may(scope) {
    return this.user?.scopes.includes(scope) ?? false;
  }

  get isMarked() {
    return localStorage.getItem(MARK) !== null;
  }

  /** Take up a session that was begun before. Throws `ApiError` if nobody answers. */
  async restore() {
    if (this.isMarked) await this.renew();
  }

  /** Open an account. Resolves to false if the address has to be confirmed before one can log in. */
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

  /** A token that is still good, or null. Throws `ApiError` if nobody answers who could give another. */
  async accessToken() {
    if (this.user !== null && Date.now() > expiresAt - RENEW_AHEAD_MILLISECONDS) {
      await this.renew().catch((error) => {
        if (Date.now() >= expiresAt) throw error;
      });
    }
    return token;
  }

  /**
   * Get a new access token, in turn with the other tabs. A session that has ended leaves nobody logged in; nobody's
   * answer is an `ApiError`, and the session may go on later.
   */
  async renew() {
    renewing ??= inTurn(() => this.#exchange()).finally(() => (renewing = null));
    await renewing;
  }

  /** Nobody is logged in any more, here and in the other tabs. */
  forget({ tell = true } = {}) {
    token = null;
    expiresAt = 0;
    if (tell) {
      localStorage.removeItem(MARK);
      tabs.postMessage("ended");
    }
    this.#become(null);
  }

  async #exchange() {
    // Another tab may have logged out while this one waited.
    if (!this.isMarked) return this.forget({ tell: false });
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
    expiresAt = Date.now() + tokens.expires_in * 1000;
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
  if (data === "ended" && session.user !== null) session.forget({ tell: false });
  // Somebody logged in elsewhere, and maybe somebody else: the cookie is no longer this tab's user's.
  if (data === "begun") session.renew().catch(() => {});
});

async function browser(call, options = {}) {
  return send("POST", `${BROWSER}/${call}`, { ...options, headers: OWN, cache: "no-store" });
}

function inTurn(work) {
  return navigator.locks ? navigator.locks.request("tandem.session", work) : work();
}

/** What a token says. It is not verified here: that is up to whom it is shown. */
function claimsOf(jwt) {
  const payload = jwt.split(".")[1].replaceAll("-", "+").replaceAll("_", "/");
  const bytes = Uint8Array.from(atob(payload), (character) => character.charCodeAt(0));
  return JSON.parse(new TextDecoder().decode(bytes));
}
