// The OpenAPI document of the JSON API, made from the table of resources.
import { z } from "zod";
import type { Resource } from "./resources.ts";
import { resources } from "./resources.ts";
import { problem, repositories } from "./schemas.ts";

export const apiRoot = "/-/api/v1";

const withoutDialect = ({ $schema: _dialect, ...schema }: Record<string, unknown>): object => schema;
const outputSchema = (schema: z.ZodType): object => withoutDialect(z.toJSONSchema(schema, { io: "output" }));

const problemResponse = (description: string): object => ({
  description,
  content: { "application/problem+json": { schema: { $ref: "#/components/schemas/Problem" } } },
});

const etag = { description: "Changes with the content.", schema: { type: "string" } };

const successes = (description: string, schema: z.ZodType): object => ({
  "200": {
    description,
    headers: { ETag: etag },
    content: { "application/json": { schema: outputSchema(schema) } },
  },
  "304": { description: "The content has the ETag of If-None-Match.", headers: { ETag: etag } },
});

const textResponse = (description: string): object => ({
  description,
  content: { "text/plain": { schema: { type: "string" } } },
});

const failures = {
  "400": {
    description: "A parameter is malformed. As text/plain: the request is.",
    content: {
      "application/problem+json": { schema: { $ref: "#/components/schemas/Problem" } },
      "text/plain": { schema: { type: "string" } },
    },
  },
  "414": textResponse("The URL is too long."),
  "431": textResponse("The URL and the header fields are too long."),
  "503": problemResponse("This cannot be answered now; Retry-After says when to try again."),
};

const repositoryParameter = {
  name: "repository",
  in: "path",
  required: true,
  schema: { type: "string", pattern: "^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$" },
  description: "The name of the repository.",
};

function parametersOf({ path, parameters }: Resource): readonly object[] {
  return Object.entries(parameters.shape).map(([name, schema]) => {
    const { description, ...rest } = withoutDialect(z.toJSONSchema(schema, { io: "input" })) as {
      readonly description?: string;
    };
    const isInPath = path.includes(`{${name}}`);
    const required = isInPath || !schema.safeParse(undefined).success;
    return {
      name,
      in: isInPath ? "path" : "query",
      required,
      schema: rest,
      ...(description !== undefined && { description }),
    };
  });
}

function operationOf(resource: Resource): object {
  return {
    operationId: resource.name,
    summary: resource.summary,
    parameters: [repositoryParameter, ...parametersOf(resource)],
    responses: {
      ...successes(resource.summary, resource.response),
      ...failures,
      "401": problemResponse("The repository is private: a reader's name and password are needed."),
      "404": problemResponse("There is no such repository, or nothing of this name in it."),
      "429": problemResponse("There were too many wrong passwords."),
    },
    security: [{}, { reader: [] }],
  };
}

/** @param version of this program */
export function openApiDocument(version: string): object {
  const paths = Object.fromEntries(
    resources.map((resource) => [
      `${apiRoot}/repositories/{repository}${resource.path}`,
      { get: operationOf(resource) },
    ]),
  );
  return {
    openapi: "3.1.1",
    info: {
      title: "tahoe-apt",
      version,
      description: "What the pages of the repositories of this server show, for programs. Everything can only be read.",
    },
    paths: {
      [`${apiRoot}/repositories`]: {
        get: {
          operationId: "repositories",
          summary: "The public repositories.",
          responses: successes("The public repositories.", repositories),
        },
      },
      ...paths,
    },
    components: {
      schemas: { Problem: outputSchema(problem) },
      securitySchemes: { reader: { type: "http", scheme: "basic" } },
    },
  };
}
