// Renders the feed of uploads.
// See RFC 4287.
import { builderName } from "../html/formats.ts";
import { Links } from "../html/links.ts";
import { template } from "../html/templates.ts";
import type { FeedEntry } from "./uploads.ts";
import { urnOf } from "./uploads.ts";

/** The subject of a feed. */
export interface FeedSubject {
  readonly repository: string;
  /** Identifies the repository among others of the same name. */
  readonly keyFingerprint: string;
  /** The public name; undefined: all suites. */
  readonly suite: string | undefined;
  /** The URL of the server for this client, without a trailing slash. */
  readonly origin: string;
}

/** The longest parts of a title or summary, in characters. */
const maxCharacters = 300;
const maxBuilders = 10;

const feed = template<{
  readonly id: string;
  readonly title: string;
  readonly subject: FeedSubject;
  readonly page: string;
  readonly updated: string;
  readonly entries: readonly (FeedEntry & { readonly href: string })[];
  readonly builderName: typeof builderName;
  readonly links: Links;
  readonly time: typeof time;
  readonly max: number;
  readonly maxBuilders: number;
}>(`<?xml version="1.0" encoding="utf-8"?>
<feed xmlns="http://www.w3.org/2005/Atom" xml:lang="en">
<id><%= it.id %></id>
<title><%= it.title %></title>
<updated><%= it.updated %></updated>
<author><name><%= it.subject.repository %></name></author>
<link rel="self" type="application/atom+xml" href="<%= it.links.feed(it.subject.suite) %>"/>
<link rel="alternate" type="text/html" href="<%= it.page %>"/>
<generator>tahoe-apt</generator>
<% for (const entry of it.entries) { %><entry>
<id><%= entry.id %></id>
<title><%= it.cut(entry.name, it.max) %> <%= it.cut(entry.version, it.max) %> (<%= it.cut(entry.architectures.join(", "), it.max) %>)</title>
<updated><%= it.time(entry.updatedSeconds) %></updated>
<published><%= it.time(entry.publishedSeconds) %></published>
<% for (const builder of entry.builders.slice(0, it.maxBuilders)) { %><author><name><%= it.cut(it.builderName(builder), it.max) %></name><uri><%= it.links.builder(builder) %></uri></author>
<% } %><link rel="alternate" type="text/html" href="<%= entry.href %>"/>
<category term="<%= entry.suite %>"/>
<summary><%= it.cut(entry.description, it.max) || "No description." %></summary>
</entry>
<% } %></feed>
`);

/** @param entries the newest first */
export function renderFeed(subject: FeedSubject, entries: readonly FeedEntry[]): string {
  const { repository, keyFingerprint, suite, origin } = subject;
  const links = new Links(`${origin}/`, repository);
  return feed({
    id: urnOf(["uploads", keyFingerprint, repository, suite ?? ""]),
    title: suite === undefined ? `Uploads to ${repository}` : `Uploads to ${suite} of ${repository}`,
    subject,
    page: links.packages({ suite, sort: "time" }),
    updated: time(entries[0]?.updatedSeconds ?? 0),
    entries: entries.map((entry) => ({
      ...entry,
      href: entry.isSource ? links.source(entry.name) : links.package(entry.name),
    })),
    builderName,
    links,
    time,
    max: maxCharacters,
    maxBuilders,
  });
}

/** A time as in RFC 3339. */
function time(seconds: number): string {
  const date = new Date(seconds * 1000);
  return `${(Number.isNaN(date.getTime()) ? new Date(0) : date).toISOString().slice(0, 19)}Z`;
}
