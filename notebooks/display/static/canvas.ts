/**
 * The part of a canvas that plotly.js draws heatmaps on: rectangles of one colour, blocks of pixels, and
 * a PNG of the whole. A canvas library for Deno is a native addon of 35 MB, against 60 lines.
 */

import type { EncodePng } from "./png.ts";

interface Pixels {
  readonly width: number;
  readonly height: number;
  readonly data: Uint8ClampedArray;
}

/** A canvas, transparent at first. Setting its size clears it, as in a browser. */
export class Canvas {
  #width = 300;
  #height = 150;
  #pixels: Uint8ClampedArray | undefined;
  #encode: EncodePng;

  /** Makes a canvas whose pictures `encode` writes. */
  constructor(encode: EncodePng) {
    this.#encode = encode;
  }

  /** Width in pixels. */
  get width(): number {
    return this.#width;
  }
  set width(width: number) {
    this.#width = width;
    this.#pixels = undefined;
  }

  /** Height in pixels. */
  get height(): number {
    return this.#height;
  }
  set height(height: number) {
    this.#height = height;
    this.#pixels = undefined;
  }

  /** Red, green, blue, opacity of each pixel, row by row. */
  get pixels(): Uint8ClampedArray {
    return this.#pixels ??= new Uint8ClampedArray(this.#width * this.#height * 4);
  }

  /** What draws on it. */
  getContext(): CanvasContext {
    return new CanvasContext(this);
  }

  /** The picture as a PNG in a `data:` URL. */
  toDataURL(): string {
    return "data:image/png;base64," +
      this.#encode(this.pixels, this.#width, this.#height).toBase64();
  }
}

/** Draws on a canvas. */
export class CanvasContext {
  /** Colour of rectangles: `rgb(r,g,b)` or `rgba(r,g,b,a)`. */
  fillStyle = "rgba(0,0,0,1)";
  #canvas: Canvas;

  /** Makes a context for `canvas`. */
  constructor(canvas: Canvas) {
    this.#canvas = canvas;
  }

  /** Sets a rectangle's pixels; negative widths and heights reach to the left and upwards. */
  fillRect(x: number, y: number, width: number, height: number): void {
    const { width: columns, height: rows, pixels } = this.#canvas;
    const colour = parseColour(this.fillStyle);
    const [left, right] = span(x, x + width, columns);
    const [top, bottom] = span(y, y + height, rows);
    for (let row = top; row < bottom; row++) {
      for (let column = left; column < right; column++) {
        pixels.set(colour, (row * columns + column) * 4);
      }
    }
  }

  /** A block of transparent pixels. */
  createImageData(width: number, height: number): Pixels {
    return { width, height, data: new Uint8ClampedArray(width * height * 4) };
  }

  /** Copies a block of pixels as wide as the canvas to row `y`. */
  putImageData(block: Pixels, _x: number, y: number): void {
    this.#canvas.pixels.set(block.data, y * block.width * 4);
  }
}

function span(from: number, to: number, end: number): [number, number] {
  const clamp = (value: number) => Math.min(Math.max(Math.round(value), 0), end);
  return from < to ? [clamp(from), clamp(to)] : [clamp(to), clamp(from)];
}

function parseColour(text: string): number[] {
  const numbers = /^rgba?\((.*)\)$/.exec(text)?.[1]?.split(",").map(Number) ?? [];
  const [red = NaN, green = NaN, blue = NaN, opacity = 1] = numbers;
  if (Number.isNaN(red + green + blue + opacity)) {
    throw new TypeError(`Cannot fill rectangle: colour is ${text}, expected rgb() or rgba()`);
  }
  return [red, green, blue, opacity * 255];
}
