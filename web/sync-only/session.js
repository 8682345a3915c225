/*
 * The session of the operator, served in place of /session.js: there are no accounts, and one token.
 *
 * The token is in sessionStorage, which ends with the tab.
 */

import { send } from "./http.js";

const KEY = "tandem.operator-token";
const OPERATOR = { id: "operator", username: "operator", name: "Operator", role: "operator", scopes: ["sync:read", "sync:write"] };

class Session extends EventTarget {
  /** The operator, or null. A change dispatches `change`, a token that is no longer accepted `ended`. */
  user = null;

  may(scope) {
    return this.user?.scopes.includes(scope) ?? false;
  }

  /** Restore the session of this tab. Throws `ApiError` if the service doesn't respond. */
  async restore() {
    const token = sessionStorage.getItem(KEY);
    if (token === null) return;
    try {
      await this.logIn(token);
    } catch (error) {
      if (error.status !== 401) throw error;
      sessionStorage.removeItem(KEY);
    }
  }

  /** Throws `ApiError` if the token is wrong. */
  async logIn(token, signal) {
    await send("GET", "/api/sync/v1/pipeline", { headers: { Authorization: `Bearer ${token}` }, signal });
    sessionStorage.setItem(KEY, token);
    this.#become(OPERATOR);
  }

  logOut() {
    sessionStorage.removeItem(KEY);
    this.#become(null);
  }

  /** The token, or null. */
  async accessToken() {
    return this.user && sessionStorage.getItem(KEY);
  }

  /** A rejected token can't be renewed. */
  async renew() {
    this.logOut();
    this.dispatchEvent(new Event("ended"));
  }

  #become(user) {
    const isSame = user === this.user;
    this.user = user;
    if (!isSame) this.dispatchEvent(new Event("change"));
  }
}

export const session = new Session();
