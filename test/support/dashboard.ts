// The Grafana dashboard: its queries as Prometheus gets them, with Grafana's variables replaced.
import { readProjectFile } from "./project-files.ts";

interface Target {
  readonly expr: string;
  readonly legendFormat: string;
  readonly refId: string;
}

interface Panel {
  readonly id: number;
  readonly type: string;
  readonly title: string;
  readonly description?: string;
  readonly gridPos: { readonly h: number; readonly w: number; readonly x: number; readonly y: number };
  readonly targets?: readonly Target[];
}

interface Dashboard {
  readonly uid: string;
  readonly title: string;
  readonly panels: readonly Panel[];
  readonly templating: {
    readonly list: readonly {
      readonly name: string;
      readonly type: string;
      readonly definition?: string;
      readonly current: { readonly value: string };
    }[];
  };
  readonly annotations: { readonly list: readonly { readonly expr: string }[] };
}

export const readDashboard = (): Dashboard =>
  JSON.parse(readProjectFile("docker/grafana/dashboards/tahoe-apt.json")) as Dashboard;

/** One query of a panel. */
export interface PanelQuery {
  readonly panel: string;
  readonly expression: string;
  /** The labels that the legend shows. */
  readonly labels: readonly string[];
}

/**
 * All queries. `$repository` becomes a pattern that matches any value but none of a missing label, so that a selector
 * with an unknown label finds nothing.
 */
export const panelQueries = ({ panels }: Dashboard): readonly PanelQuery[] =>
  panels.flatMap(({ title, targets = [] }) =>
    targets.map(({ expr, legendFormat }) => ({
      panel: title,
      expression: expr.replaceAll("$repository", ".+").replaceAll("$__rate_interval", "1m"),
      labels: [...legendFormat.matchAll(/\{\{(\w+)\}\}/g)].map(([, label = ""]) => label),
    })),
  );
