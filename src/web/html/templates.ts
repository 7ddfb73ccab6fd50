// Compiles the templates of pages.
import { Eta } from "eta";
import { escapeHtml } from "./escape.ts";
import * as formats from "./formats.ts";

const eta = new Eta({ autoEscape: true, autoTrim: false, escapeFunction: escapeHtml as (text: unknown) => string });

/**
 * Compiles a template. Its `it` has the data and the functions of formats.ts; `<%= %>` prints text and `<%~ %>` HTML.
 * @returns the function that renders it
 */
export function template<Data extends object>(text: string): (data: Data) => string {
  const compiled = eta.compile(text);
  return (data) => compiled.call(eta, { ...formats, ...data });
}
