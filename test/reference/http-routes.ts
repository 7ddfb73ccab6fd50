// The reference of HTTP routes. http-routes.test.ts requests each of them from a running server.
import { apiRoot, openApiDocument } from "../../src/web/api/openapi.ts";
import type { Page } from "./markdown.ts";
import { code, contentsOf, prose, table } from "./markdown.ts";

/** What varies in the paths of one server, for an example of each route. */
export interface Example {
  /** Of the repository. */
  readonly name: string;
  readonly snapshot: string;
  /** Below `pool/`. */
  readonly pooled: string;
  /** Below the suite. */
  readonly byHash: string;
}

export interface Route {
  /** Words in capitals vary. */
  readonly path: string;
  /** The path in the router; undefined for files of a repository, which are served without it. */
  readonly routed?: string;
  readonly method?: "POST";
  /** Who may request it: "readers" are everybody for a public repository. */
  readonly who: "everybody" | "readers" | "builders" | "monitoring";
  readonly status: number;
  readonly type: string;
  /** The value of Cache-Control for a public repository; undefined if there is none. */
  readonly caching?: string;
  /** Whether responses have an ETag, with which a client does not get the same bytes again. */
  readonly hasEtag?: boolean;
  readonly meaning: string;
  readonly example: (example: Example) => string;
  /** Only requests whose Accept names text/html get it. */
  readonly isForBrowsers?: boolean;
}

const text = "text/plain; charset=utf-8";
const html = "text/html; charset=utf-8";
const json = "application/json; charset=utf-8";
const unchanging = "public, max-age=31536000, immutable";

/** A file of a repository. */
const file = (path: string, type: string, caching: string, meaning: string, example: Route["example"]): Route => ({
  path: `/NAME/${path}`,
  who: "readers",
  status: 200,
  type,
  caching,
  hasEtag: true,
  meaning,
  example: (one) => `/${one.name}/${example(one)}`,
});

const page = (path: string, meaning: string, example: Route["example"] = () => path): Route => ({
  ...file(path, html, "no-cache", meaning, example),
  routed: path.startsWith("-/") ? "/NAME/-/{*path}" : `/NAME/${path}`,
});

const redirect = (path: string, routed: string, meaning: string, example: Route["example"]): Route => ({
  path,
  routed,
  who: "readers",
  status: 301,
  type: text,
  meaning,
  example,
});

interface Section {
  readonly title: string;
  readonly note?: string;
  readonly routes: readonly Route[];
}

const files: Section = {
  title: "Files of a repository",
  note: `
For APT, mirrors and other clients. They have Last-Modified too, and accept ranges (206, 416). A path that
leads to none of these is 404. Files of the tree at the path of a generated file or a page are not served.
`,
  routes: [
    file("dists/SUITE/InRelease", text, "no-cache", "The signed Release.", () => "dists/sid/InRelease"),
    file("dists/SUITE/Release", text, "no-cache", "The list of indices with their hashes.", () => "dists/sid/Release"),
    file(
      "dists/SUITE/Release.gpg",
      text,
      "no-cache",
      "The detached signature of Release.",
      () => "dists/sid/Release.gpg",
    ),
    file(
      "dists/SUITE/COMPONENT/binary-ARCH/Packages",
      text,
      "no-cache",
      "An index. Also `source/Sources`, `Contents-ARCH`, `i18n/Translation-en` and pdiffs (`Packages.diff/…`).",
      () => "dists/sid/main/binary-all/Packages",
    ),
    file(
      "dists/SUITE/COMPONENT/binary-ARCH/Packages.gz",
      "application/gzip",
      "no-cache",
      "The same, compressed.",
      () => "dists/sid/main/binary-all/Packages.gz",
    ),
    file(
      "dists/SUITE/COMPONENT/binary-ARCH/Packages.xz",
      "application/x-xz",
      "no-cache",
      "The same, compressed.",
      () => "dists/sid/main/binary-all/Packages.xz",
    ),
    file(
      "dists/SUITE/…/by-hash/SHA256/HASH",
      "application/x-xz",
      unchanging,
      "An index by its hash, also one of an earlier publication that is kept.",
      ({ byHash }) => `dists/sid/${byHash}`,
    ),
    file(
      "pool/SHA256/…/FILE",
      "application/vnd.debian.binary-package",
      unchanging,
      "A package by its hash, as the indices name it.",
      ({ pooled }) => `pool/${pooled}`,
    ),
    file(
      "snapshots/ID/dists/…",
      text,
      "no-cache",
      "The same files, of a kept publication: by its id, by a time such as `20261122T134500Z`, or by the name of a pin.",
      ({ snapshot }) => `snapshots/${snapshot}/dists/sid/InRelease`,
    ),
    file(
      "snapshots/ID/pool/…",
      "application/vnd.debian.binary-package",
      unchanging,
      "A package of a kept publication.",
      ({ snapshot, pooled }) => `snapshots/${snapshot}/pool/${pooled}`,
    ),
    file(
      "changelogs/COMPONENT/PREFIX/SOURCE/SOURCE_VERSION_changelog",
      text,
      "no-cache",
      "A changelog, for `apt changelog`.",
      () => "changelogs/main/h/hello/hello_1.0-1_changelog",
    ),
    file(
      "PATH of a package in the tree",
      "application/vnd.debian.binary-package",
      "no-cache",
      "A package under its own path, also one that a view hides.",
      () => "dists/sid/main/binary-all/hello_1.0-1_all.deb",
    ),
    file("PATH of another file in the tree", text, "no-cache", "A file of the tree.", () => "README"),
    {
      ...file("DIRECTORY/", html, "no-cache", "A directory, for browsers only (`Accept: text/html`).", () => "dists/"),
      routed: "/NAME/{*path}",
      isForBrowsers: true,
    },
  ],
};

const setUp: Section = {
  title: "Keys and sources",
  note: "The keys are public, also those of a private repository.",
  routes: [
    {
      ...file("key.asc", "application/pgp-keys", "no-cache", "The public keys, ASCII-armoured.", () => "key.asc"),
      who: "everybody",
      routed: "/NAME/key.asc",
      hasEtag: false,
    },
    {
      ...file("key.gpg", "application/octet-stream", "no-cache", "The public keys.", () => "key.gpg"),
      who: "everybody",
      routed: "/NAME/key.gpg",
      hasEtag: false,
    },
    {
      ...file(
        "NAME.sources",
        text,
        "no-cache",
        "A file for `/etc/apt/sources.list.d`, with the keys. `?suite=SUITE` names one suite only.",
        ({ name }) => `${name}.sources?suite=sid`,
      ),
      routed: "/NAME/NAME.sources",
      hasEtag: false,
    },
    {
      ...file("NAME.yaml", text, "no-cache", "A description for extrepo.", ({ name }) => `${name}.yaml`),
      routed: "/NAME/NAME.yaml",
      hasEtag: false,
    },
  ],
};

const pages: Section = {
  title: "Pages",
  note: "For people.",
  routes: [
    {
      path: "/",
      routed: "/",
      who: "everybody",
      status: 200,
      type: html,
      caching: "no-cache",
      hasEtag: true,
      meaning: "The public repositories.",
      example: () => "/",
    },
    { ...page("", "The repository: suites, how to add it, what is wrong."), routed: "/NAME/" },
    page("-/packages", "Packages: search and filters (`text`, `suite`, `component`, `architecture`, `builder`, …)."),
    page("-/packages/PACKAGE", "One package.", () => "-/packages/hello"),
    page(
      "-/packages/PACKAGE/LIST",
      "The whole list of `relations`, `dependents` or `files`.",
      () => "-/packages/hello/files",
    ),
    page("-/sources/SOURCE", "One source package.", () => "-/sources/hello"),
    page("-/builders", "The builders."),
    page("-/builders/DIRECTORY", "One builder's directory.", () => "-/builders/dists/sid/main/binary-all"),
    page("-/rejects", "What is in no index, with the reasons."),
    page("-/snapshots", "Kept publications."),
    page("-/diff", "The difference of two suites or snapshots (`from`, `to`).", () => "-/diff?from=sid&to=sid"),
    page("-/health", "Suites, keys, gateways and checks, with plots."),
    page("-/files", "The root of the tree, as a directory."),
    page("snapshots/", "The same as `-/snapshots`."),
    redirect("/NAME", "/NAME", "To `/NAME/`.", ({ name }) => `/${name}`),
    redirect("/NAME/-/PAGE/", "/NAME/-/{*path}", "To the page without the slash.", ({ name }) => `/${name}/-/rejects/`),
    redirect("/NAME/snapshots", "/NAME/snapshots", "To `/NAME/snapshots/`.", ({ name }) => `/${name}/snapshots`),
  ],
};

const feeds: Section = {
  title: "Feeds, badges and lists for programs",
  note: "Feeds and badges of public repositories can be read by pages of other sites (CORS).",
  routes: [
    {
      ...file(
        "-/feed.atom",
        "application/atom+xml; charset=utf-8",
        "no-cache",
        "Uploads, of all suites or of `?suite=`.",
        () => "-/feed.atom",
      ),
      routed: "/NAME/-/feed.atom",
    },
    {
      ...file(
        "-/feeds/SUITE.atom",
        "application/atom+xml; charset=utf-8",
        "no-cache",
        "Uploads to one suite.",
        () => "-/feeds/sid.atom",
      ),
      routed: "/NAME/-/feeds/{*path}",
    },
    {
      ...file(
        "-/badge/PACKAGE.svg",
        "image/svg+xml; charset=utf-8",
        "no-cache",
        "The newest version of a package, of all suites or of `?suite=`.",
        () => "-/badge/hello.svg",
      ),
      routed: "/NAME/-/badge/{*path}",
    },
    {
      ...file("snapshots/index.json", json, "no-cache", "Kept publications.", () => "snapshots/index.json"),
      routed: "/NAME/snapshots/index.json",
      hasEtag: false,
    },
  ],
};

const pings: Section = {
  title: "Pings",
  note: `
With the Bearer token of a builder, or of the whole repository. 401 without one, 403 for another directory, 429 after
\`pings_per_minute\`.
`,
  routes: [
    {
      path: "/-/ping/NAME",
      routed: "/-/ping/NAME",
      who: "builders",
      status: 200,
      type: json,
      meaning: "What the token gives access to.",
      example: ({ name }) => `/-/ping/${name}`,
    },
    {
      path: "/-/ping/NAME/PATH",
      routed: "/-/ping/NAME/{*path}",
      method: "POST",
      who: "builders",
      status: 202,
      type: json,
      meaning: "Lists this path of the tree, and publishes what has changed. Without a path: the whole tree.",
      example: ({ name }) => `/-/ping/${name}/dists/sid/main/binary-all`,
    },
    {
      path: "/-/ping/NAME/PATH?wait=SECONDS",
      routed: "/-/ping/NAME/{*path}",
      method: "POST",
      who: "builders",
      status: 200,
      type: json,
      meaning:
        "The same; the response comes when APT sees the change, and has what was added, removed and rejected. 202 if that takes longer.",
      example: ({ name }) => `/-/ping/${name}?wait=60`,
    },
  ],
};

const server: Section = {
  title: "The server",
  routes: [
    {
      path: "/healthz",
      routed: "/healthz",
      who: "everybody",
      status: 200,
      type: text,
      meaning: "The process answers requests.",
      example: () => "/healthz",
    },
    {
      path: "/readyz",
      routed: "/readyz",
      who: "everybody",
      status: 200,
      type: text,
      meaning: "Every repository can serve. Otherwise 503 with the reason.",
      example: () => "/readyz",
    },
    {
      path: "/metrics",
      routed: "/metrics",
      who: "monitoring",
      status: 200,
      type: "text/plain; version=0.0.4; charset=utf-8",
      meaning:
        "[Metrics](metrics.md) for Prometheus. Without `metrics_token_file`, everybody reads those of public repositories.",
      example: () => "/metrics",
    },
  ],
};

const sections: readonly Section[] = [files, setUp, pages, feeds, pings, server];

export const routes: readonly Route[] = sections.flatMap((section) => section.routes);

interface Operation {
  readonly get: { readonly summary: string };
}

/** The resources of the API, by their paths as in OpenAPI. */
export const apiResources = (): readonly (readonly [path: string, summary: string])[] => {
  const { paths } = openApiDocument("0") as { readonly paths: Readonly<Record<string, Operation>> };
  return Object.entries(paths).map(([path, { get }]) => [path, get.summary]);
};

const whoTexts = {
  everybody: "everybody",
  readers: "readers",
  builders: "a token for pings",
  monitoring: "the metrics token",
} as const satisfies Record<Route["who"], string>;

const rowOf = ({ path, method, who, status, type, caching, hasEtag = false, meaning }: Route): readonly string[] => [
  `${method === undefined ? "" : `${method} `}${code(path)}`,
  whoTexts[who],
  String(status),
  type.replace("; charset=utf-8", ""),
  caching === undefined ? "–" : `${code(caching)}${hasEtag ? ", ETag" : ""}`,
  meaning,
];

const columns = ["path", "who", "status", "content type", "caching", "meaning"];

const sectionText = ({ title, note, routes: own }: Section): string =>
  [`## ${title}`, ...(note === undefined ? [] : [prose(note)]), table(columns, own.map(rowOf))].join("\n\n");

const intro = `
Words in capitals vary; NAME is a repository. Paths are for GET and HEAD, unless POST stands before them. Texts are in
UTF-8.

- **who**: *readers* are everybody for a public repository. For a private one they authenticate with name and password
  (HTTP Basic), and responses have \`private\` in Cache-Control.
- **status** of a request that succeeds. Every path may also answer 400 (malformed), 405 (method not allowed, with
  \`Allow\`), 408, 414, 429, 431, 501 or 503, with an [error code](error-codes.md) in the body: as a line of text, as a page
  for browsers, as RFC 9457 problem in the API. 401 asks for a password or token, 404 is a path that leads to nothing;
  while something is not there yet, 503 says so. Responses with errors have \`Cache-Control: no-store\`.
- **caching**: the header Cache-Control. With an ETag, a request with \`If-None-Match\` gets 304 while nothing has changed.
- Every response has an \`X-Request-Id\`, which the [log](log-events.md) repeats.
- A replica sends \`Tahoe-Apt-Publication\` with Release and InRelease, for
  [load balancers](../guide-cluster.md#the-load-balancer).
`;

const apiNote = `
\`${apiRoot}/openapi.json\` describes parameters and responses as OpenAPI 3.1. Everything is for GET, HEAD and OPTIONS, has
type \`application/json\`, an ETag (304) and \`Cache-Control: no-cache\`; errors are \`application/problem+json\`. Resources of
a repository are for its readers; those of public ones can be read by pages of other sites (CORS).
`;

export function httpPage(): Page {
  const api = [
    "## JSON API",
    prose(apiNote),
    table(
      ["path", "contents"],
      [
        [code(`${apiRoot}/openapi.json`), "The description of the API."],
        ...apiResources().map(([path, summary]) => [code(path), summary]),
      ],
    ),
  ].join("\n\n");
  const titles = sections.map(({ title }) => title);
  return {
    file: "http.md",
    title: "HTTP routes",
    contents: "every route: who may request it, status, content type, caching",
    madeFrom: "test/reference/http-routes.ts and src/web/api/",
    body: [prose(intro), contentsOf([...titles, "JSON API"]), ...sections.map(sectionText), api].join("\n\n"),
  };
}
