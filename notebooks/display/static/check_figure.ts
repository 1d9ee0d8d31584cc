import type { Figure } from "../figure.ts";
import type { Plotly, Problem } from "./plotly.ts";

type Attributes = Readonly<Record<string, unknown>>;

/**
 * Refuses a figure that would be drawn otherwise than it says. plotly.js replaces values that it does not
 * know by its defaults, and an unknown type of trace by "scatter".
 *
 * @param figure The figure.
 * @param plotly Knows the attributes of traces and layout.
 * @throws {TypeError} Names the first value that is wrong.
 */
export function checkFigure(figure: Figure, plotly: Plotly): void {
  for (const reason of reasonsAgainst(figure, plotly)) {
    throw new TypeError(`Cannot draw figure: ${reason}`);
  }
}

function* reasonsAgainst(figure: Figure, plotly: Plotly): Generator<string> {
  if (!Array.isArray(figure?.data)) {
    yield "data is not an array, expected one of traces";
    return;
  }
  for (const problem of plotly.validate(figure.data, figure.layout ?? {}) ?? []) {
    const reason = reasonOf(problem, figure, plotly);
    if (reason !== undefined) yield reason;
  }
  yield* foreignPictures(figure);
}

function reasonOf(problem: Problem, figure: Figure, plotly: Plotly): string | undefined {
  const trace = figure.data[problem.trace ?? NaN];
  const value = valueAt(trace ?? figure.layout, problem.path);
  switch (problem.code) {
    case "value":
      // An attribute that is there and undefined is as good as one that is left out.
      if (value === undefined) return;
      if (trace === undefined || value !== trace.type) return problem.msg;
      return `trace ${problem.trace} has type "${value}", expected one of ` +
        Object.keys(plotly.PlotSchema.get().traces).join(", ");
    case "array":
      // Numbers in base64, which plotly.js reads but validate() does not know.
      return isObject(value) && "bdata" in value ? undefined : problem.msg;
    case "object":
    case "schema":
      return problem.msg;
    case "invisible":
      if (trace === undefined || !hasData(trace)) return;
      return `trace ${problem.trace} of type "${trace.type ?? "scatter"}" has nothing to show, ` +
        "expected data of its type's form, such as rows of numbers as z of a heatmap";
    default:
      return;
  }
}

function valueAt(container: unknown, path: Problem["path"]): unknown {
  return [path].flat().reduce(
    (value: unknown, key) => isObject(value) ? value[key] : undefined,
    container,
  );
}

function isObject(value: unknown): value is Attributes {
  return typeof value === "object" && value !== null;
}

/** A trace that its figure hides, or that has no numbers as yet, has nothing to show and is none the worse. */
function hasData(trace: Attributes): boolean {
  if (trace.visible === false || trace.visible === "legendonly") return false;
  return ["x", "y", "z", "values"].some((name) => holdsAny(trace[name]));
}

/** Whether an array holds more than gaps, which is what numbers are that are not finite. */
function holdsAny(value: unknown): boolean {
  if (typeof value === "number") return Number.isFinite(value);
  if (typeof value !== "object") return value !== undefined;
  return Array.from(value as ArrayLike<unknown> | null ?? []).some(holdsAny);
}

/** Pictures that would have to be loaded or decoded: nothing here does, and plotly.js would wait. */
function* foreignPictures({ data, layout }: Figure): Generator<string> {
  for (const [index, { type, source, colormodel = "rgb" }] of data.entries()) {
    if (type !== "image") continue;
    if (source !== undefined) yield `trace ${index} has a source, expected pixels as z`;
    if (String(colormodel).startsWith("rgb")) continue;
    yield `trace ${index} has colormodel "${colormodel}", expected rgb, rgba or rgba256`;
  }
  for (const [index, image] of (layout?.images as Attributes[] | undefined ?? []).entries()) {
    if (String(image.source).startsWith("data:")) continue;
    yield `images[${index}] of the layout has source ${image.source}, expected a data: URL`;
  }
}
