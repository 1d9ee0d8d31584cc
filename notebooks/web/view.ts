/** The page as the program sees it: fields to read, places to write to. */
import { chart, THEMES } from "./charts.ts";
import { create, element, page, type PageElement } from "./dom.ts";
import type { Point, Quantity } from "./points.ts";
import {
  COLUMNS,
  describeSettings,
  type ErrorText,
  EXPONENT_COLUMNS,
  exponentRows,
  pointRows,
  refusalTexts,
} from "./report.ts";
import { BUDGETS, DTYPES, type Fields, HEADS, MASKS, type Settings } from "./settings.ts";
import { formatBytes } from "./text.ts";

const CHARTS: readonly (readonly [id: string, quantity: Quantity])[] = [
  ["memory-chart", "peakBytes"],
  ["time-chart", "milliseconds"],
];

/** Columns whose texts are numbers, in both tables. */
const NUMBERS = ["N", "peak memory", "memory", "time", "error"];

/** The page. There is one. */
export class View {
  readonly #isDark = page.matchMedia("(prefers-color-scheme: dark)");
  #shown: { points: readonly Point[]; settings: Settings } | undefined;

  /** Fills the lists of the form. */
  constructor() {
    fillSelect("heads", HEADS.map((heads) => [String(heads), String(heads)]));
    fillSelect("mask", Object.entries(MASKS).map(([name, { label }]) => [name, label]));
    fillSelect("dtype", DTYPES.map((dtype) => [dtype, dtype]));
    fillSelect("isTraining", [["false", "forward"], ["true", "forward and backward (training)"]]);
    fillSelect("budget", BUDGETS.map((bytes) => [String(bytes), formatBytes(bytes)]));
    element("budget").value = String(2 ** 30);
    this.#isDark.addEventListener("change", () => this.#draw());
  }

  /** Calls these when buttons are pressed; Enter in a field runs too. */
  onButtons(buttons: { run: () => void; stop: () => void; newDevice: () => void }): void {
    element("form").addEventListener("submit", (event) => {
      event.preventDefault();
      buttons.run();
    });
    element("stop").addEventListener("click", buttons.stop);
    element("new-device").addEventListener("click", buttons.newDevice);
  }

  /** What the form says. */
  fields(): Fields {
    const value = (id: keyof Settings) => element(id).value;
    return {
      longest: value("longest"),
      heads: value("heads"),
      mask: value("mask"),
      dtype: value("dtype"),
      isTraining: value("isTraining"),
      budget: value("budget"),
    };
  }

  /** Writes sizes that suit the device into the form. */
  suggest({ longest, heads }: Pick<Settings, "longest" | "heads">): void {
    element("longest").value = String(longest);
    element("heads").value = String(heads);
  }

  /** Says what is going on. */
  showStatus(text: string): void {
    element("status").textContent = text;
  }

  /** How many points of how many are done. */
  showProgress(done: number, total: number): void {
    const bar = element("progress");
    bar.max = total;
    bar.value = String(done);
    bar.hidden = false;
  }

  /** Turns Run off and Stop on, or back. */
  setRunning(isRunning: boolean): void {
    element("run").disabled = isRunning;
    element("stop").disabled = !isRunning;
  }

  /** Lists what is known of browser and device. */
  showFacts(facts: readonly (readonly [name: string, value: string])[]): void {
    element("facts").replaceChildren(
      ...facts.map(([name, value]) => create("div", create("dt", name), create("dd", value))),
    );
  }

  /** Shows an error, which stays until {@linkcode clearErrors}; a second one stands below it. */
  showError({ title, text, needsDevice }: ErrorText): void {
    const box = element("error");
    box.append(create("p", create("strong", title), ": ", text));
    box.hidden = false;
    if (needsDevice) element("new-device").hidden = false;
  }

  /** Marks a field as wrong, and says why below it. */
  showInvalid(field: keyof Settings, text: string): void {
    element(field).setAttribute("aria-invalid", "true");
    const complaint = element("complaint");
    complaint.textContent = text;
    complaint.hidden = false;
    element(field).focus();
  }

  /** Takes errors and complaints away. */
  clearErrors(): void {
    element("error").replaceChildren();
    for (const id of ["error", "complaint", "new-device"]) element(id).hidden = true;
    for (const field of Object.keys(this.fields())) element(field).removeAttribute("aria-invalid");
  }

  /** Draws charts and tables anew. */
  showPoints(points: readonly Point[], settings: Settings): void {
    this.#shown = { points, settings };
    element("subject").textContent = describeSettings(settings);
    fillTable(element("points"), COLUMNS, pointRows(points));
    element("refusals").replaceChildren(...refusalTexts(points).map((text) => create("li", text)));
    const exponents = exponentRows(points, settings);
    fillTable(element("exponents"), EXPONENT_COLUMNS, exponents);
    element("exponents-section").hidden = exponents.length === 0;
    element("results").hidden = false;
    this.#draw();
  }

  #draw(): void {
    if (!this.#shown) return;
    const { points, settings } = this.#shown;
    const theme = THEMES[this.#isDark.matches ? "dark" : "light"];
    for (const [id, quantity] of CHARTS) {
      const place = element(id);
      if (!page.Plotly) {
        place.textContent =
          "plotly.js did not load, so there is no chart; the numbers are in the table.";
        continue;
      }
      const { data, layout, config } = chart(points, { quantity, settings, theme });
      // What fails here is shown by the page's handler of rejections.
      page.Plotly.react(place, data, layout, config);
    }
  }
}

function fillSelect(id: string, options: readonly (readonly [value: string, label: string])[]) {
  element(id).replaceChildren(...options.map(([value, label]) => {
    const option = create("option", label);
    option.value = value;
    return option;
  }));
}

function fillTable(
  table: PageElement,
  columns: readonly string[],
  rows: readonly (readonly string[])[],
): void {
  const cell = (name: string, text: string, column: number) => {
    const created = create(name, text);
    if (NUMBERS.includes(columns[column]!)) created.className = "number";
    return created;
  };
  const head = columns.map((column, n) => {
    const created = cell("th", column, n);
    created.setAttribute("scope", "col");
    return created;
  });
  const body = rows.map((row) => create("tr", ...row.map((text, n) => cell("td", text, n))));
  table.replaceChildren(
    create("thead", create("tr", ...head)),
    create("tbody", ...body),
  );
}
