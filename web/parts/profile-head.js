/* The head of a profile, above the user's tweets, followers and followed users. */

import { TWEETS, get, put, remove } from "../api.js";
import { element, replaceChildren } from "../dom.js";
import { loginPath, navigate } from "../navigation.js";
import { session } from "../session.js";
import { plural } from "../text.js";
import { avatar } from "./author.js";
import { toast } from "./toast.js";

const MONTH = new Intl.DateTimeFormat("en", { month: "long", year: "numeric" });

/** The head of a profile; `tab` is "", "followers" or "following". Throws an `ApiError` of status 404 for unknown users. */
export async function profileHead(username, { tab, signal }) {
  const path = `${TWEETS}/users/${encodeURIComponent(username)}`;
  const profile = await get(path, { signal });
  const counts = element("nav.tabs", { "aria-label": "Profile" });
  const showCounts = () => replaceChildren(counts, tabs(profile, tab));
  showCounts();
  return element(
    "header.profile",
    {},
    avatar(profile),
    element("div", {}, element("h1", {}, profile.name), element("p.meta", {}, `@${profile.username}`, about(profile))),
    session.user?.id === profile.id
      ? element("a.button", { href: "/settings" }, "Edit profile")
      : !profile.is_imported && followButton(path, profile, showCounts),
    counts,
  );
}

function about({ created_at, is_imported }) {
  if (is_imported) return " · imported, without an account";
  return created_at ? ` · joined ${MONTH.format(new Date(created_at))}` : "";
}

function tabs({ username, counts }, tab) {
  const link = (name, label) =>
    element(
      "a",
      { href: `/people/${username}${name && `/${name}`}`, "aria-current": name === tab ? "page" : null },
      label,
    );
  return [
    link("", plural(counts.tweets, "tweet")),
    link("followers", plural(counts.followers, "follower")),
    link("following", `${counts.following.toLocaleString("en")} following`),
  ];
}

function followButton(path, profile, onchange) {
  const button = element("button", { type: "button", onclick: toggle });
  const show = () => {
    const isFollowed = profile.is_followed === true;
    button.classList.toggle("primary", !isFollowed);
    button.setAttribute("aria-pressed", String(isFollowed));
    replaceChildren(button, isFollowed ? "Following" : "Follow");
  };
  async function toggle() {
    if (session.user === null) return navigate(loginPath(), { notice: "Log in to follow users." });
    if (button.hasAttribute("aria-disabled")) return undefined;
    button.setAttribute("aria-disabled", "true");
    try {
      const isWanted = profile.is_followed !== true;
      await (isWanted ? put : remove)(`${path}/follow`);
      profile.is_followed = isWanted;
      profile.counts.followers += isWanted ? 1 : -1;
      onchange();
    } catch (error) {
      toast(error.message);
    } finally {
      button.removeAttribute("aria-disabled");
      show();
    }
    return undefined;
  }
  show();
  return button;
}
