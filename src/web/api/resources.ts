// The resources of the JSON API: for each its path, its parameters, the form of its response, and how it is found.
import { z } from "zod";
import { cursorPattern } from "../data/cursors.ts";
import type { RepositoryData } from "../data/repository-data.ts";
import { maxFoundPackages, maxPageEntries, maxSearchCharacters, packageOrders } from "../data/repository-data.ts";
import * as schemas from "./schemas.ts";

/** The longest name, version or path in a parameter. */
const maxNameCharacters = 2048;

/** The parameters in the path or the query, which are texts or whole numbers. */
type Parameters = z.ZodObject<Readonly<Record<string, z.ZodType>>>;

export interface Request {
  readonly data: RepositoryData;
  /** The URL of the repository. */
  readonly url: string;
  readonly signal: AbortSignal;
}

/** A resource of one repository. */
export interface Resource {
  /** Below `repositories/{repository}`; parameters are in braces. */
  readonly path: string;
  readonly name: string;
  readonly summary: string;
  readonly parameters: Parameters;
  readonly response: z.ZodType;
  /** Whether it may be absent although its repository exists. */
  readonly mayBeAbsent: boolean;
  /** @returns undefined if there is no such resource @throws BadQuery, IndexUnavailable, StorageUnavailable */
  find(request: Request, parameters: object): Promise<object | undefined>;
}

const name = z
  .string()
  .min(1)
  .max(maxNameCharacters)
  .regex(/^[^\u0000-\u001f\u007f]+$/);
const publication = z.string().regex(/^[^@\u0000-\u001f\u007f]{1,255}(@[^@\u0000-\u001f\u007f]{1,255})?$/);
/** A name in a path: not a directory of its own. */
const nameInPath = z
  .string()
  .min(1)
  .max(maxNameCharacters)
  .regex(/^(?!\.{1,2}$)[^\u0000-\u001f\u007f/]+$/);
const suite = name.optional().describe("Only this suite.");
const builder = name.optional().describe("Only the directory of this builder, a path in the tree.");
const page = {
  cursor: z.string().regex(cursorPattern).optional().describe("The `next` of the previous page."),
  limit: z.int().min(1).max(maxPageEntries).optional().describe("The most entries of the page; 50 by default."),
};

/** Connects the types of a resource: its parameters, and that its response has the form that is documented. */
function resource<Given extends Parameters, Response extends z.ZodType<object, object>>(options: {
  readonly path: string;
  readonly name: string;
  readonly summary: string;
  readonly parameters: Given;
  readonly response: Response;
  readonly mayBeAbsent?: boolean;
  find(
    request: Request,
    parameters: z.output<Given>,
  ): z.input<Response> | undefined | Promise<z.input<Response> | undefined>;
}): Resource {
  return {
    mayBeAbsent: false,
    ...options,
    find: async (request, parameters) => await options.find(request, options.parameters.parse(parameters)),
  };
}

export const resources: readonly Resource[] = [
  resource({
    path: "",
    name: "repository",
    summary: "The repository.",
    parameters: z.object({}),
    response: schemas.repository,
    find: ({ data, url }) => ({ name: data.name, isIndexing: data.isIndexing(), url }),
  }),
  resource({
    path: "/filters",
    name: "filters",
    summary: "The values by which packages can be filtered.",
    parameters: z.object({}),
    response: schemas.filters,
    find: ({ data, signal }) => data.filters(signal),
  }),
  resource({
    path: "/packages",
    name: "packages",
    summary: `Finds packages. A search for a text lists at most ${maxFoundPackages}.`,
    parameters: z.object({
      text: z
        .string()
        .max(maxSearchCharacters)
        .optional()
        .describe("Words or beginnings of words in names, descriptions, sources and maintainers."),
      suite,
      component: name.optional(),
      architecture: name.optional().describe("Packages of this architecture and of `all`."),
      builder,
      sort: z.enum(packageOrders).optional().describe("`relevance` by default."),
      ...page,
    }),
    response: schemas.foundPage,
    find: ({ data, signal }, query) => data.packages(query, signal),
  }),
  resource({
    path: "/packages/{package}",
    name: "package",
    summary: "A package with its versions in all suites.",
    parameters: z.object({ package: nameInPath }),
    response: schemas.packageDetail,
    mayBeAbsent: true,
    find: ({ data, signal }, query) => data.package(query.package, signal),
  }),
  resource({
    path: "/packages/{package}/dependents",
    name: "dependents",
    summary: "The packages whose relations name a package, or something that it provides.",
    parameters: z.object({ package: nameInPath, ...page }),
    response: schemas.pageOf(schemas.dependent),
    find: ({ data, signal }, { package: of, ...query }) => data.dependents(of, query, signal),
  }),
  resource({
    path: "/files/{sha256}",
    name: "files",
    summary: "The list of files in a package.",
    parameters: z.object({
      sha256: z
        .string()
        .regex(/^[0-9a-f]{64}$/)
        .describe("Of the .deb."),
    }),
    response: schemas.fileListing,
    mayBeAbsent: true,
    find: ({ data, signal }, { sha256 }) => data.files(sha256, signal),
  }),
  resource({
    path: "/sources/{source}",
    name: "source",
    summary: "A source package with its versions in all suites.",
    parameters: z.object({ source: nameInPath }),
    response: schemas.sourceDetail,
    mayBeAbsent: true,
    find: ({ data, signal }, { source }) => data.source(source, signal),
  }),
  resource({
    path: "/sources/{source}/changelog",
    name: "changelog",
    summary: "The changelog of a version of a source package, as it is in a package that was built from it.",
    parameters: z.object({ source: nameInPath, version: name }),
    response: schemas.changelog,
    mayBeAbsent: true,
    find: ({ data, signal }, { source, version }) => data.changelog({ name: source, version }, signal),
  }),
  resource({
    path: "/builders",
    name: "builders",
    summary: "The directories of builders.",
    parameters: z.object({}),
    response: schemas.builders,
    find: async ({ data, signal }) => ({ builders: await data.builders(signal) }),
  }),
  resource({
    path: "/builder",
    name: "builder",
    summary: "The uploads, rejects, pending files and budgets of a builder.",
    parameters: z.object({ directory: name.describe("As in the list of builders.") }),
    response: schemas.builderDetail,
    mayBeAbsent: true,
    find: ({ data, signal }, { directory }) => data.builder(directory, signal),
  }),
  resource({
    path: "/uploads",
    name: "uploads",
    summary: "The listed packages and source packages, the most recently uploaded first.",
    parameters: z.object({ suite, builder, ...page }),
    response: schemas.pageOf(schemas.upload),
    find: ({ data, signal }, query) => data.uploads(query, signal),
  }),
  resource({
    path: "/rejects",
    name: "rejects",
    summary: "The files that no index lists, with reasons and advice.",
    parameters: z.object({ suite, builder, ...page }),
    response: schemas.pageOf(schemas.reject),
    find: ({ data }, query) => data.rejects(query),
  }),
  resource({
    path: "/pending",
    name: "pending",
    summary: "The files that are not in the indices yet.",
    parameters: z.object(page),
    response: schemas.pageOf(schemas.pendingUpload),
    find: ({ data }, query) => data.pending(query),
  }),
  resource({
    path: "/snapshots",
    name: "snapshots",
    summary: "The kept publications by suite, the newest first, with what changed in each.",
    parameters: z.object({ suite, ...page }),
    response: schemas.pageOf(schemas.snapshot),
    find: ({ data, signal }, query) => data.snapshots(query, signal),
  }),
  resource({
    path: "/diff",
    name: "diff",
    summary: "The differences between two suites or snapshots.",
    parameters: z.object({
      from: publication.describe("`SUITE`, or `SUITE@SNAPSHOT` with an id, a time or the name of a pin."),
      to: publication.describe("As `from`."),
      ...page,
    }),
    response: schemas.diff,
    mayBeAbsent: true,
    find: ({ data, signal }, query) => data.diff(query, signal),
  }),
  resource({
    path: "/health",
    name: "health",
    summary: "What is wrong, and when keys and publications expire.",
    parameters: z.object({}),
    response: schemas.health,
    find: ({ data }) => data.health(),
  }),
];
