"use strict";
// Cells of a grid, put together by the factors that are chosen. It adds up, and draws nothing.
const Grids = (() => {
  /** The cells that have every level in `wanted` (a factor's number to a level's). */
  function kept(grid, wanted) {
    const found = [];
    for (let cell = 0; cell < grid.ended.length; cell += 1) {
      if (wanted.every(([factor, level]) => grid.places[factor][cell] === level)) found.push(cell);
    }
    return found;
  }

  /** A sum for each combination of levels of the factors `row` and `column`, either of which may be null. */
  function table(grid, row, column, wanted) {
    const sums = new Map();
    for (const cell of kept(grid, wanted)) {
      const key = `${row === null ? 0 : grid.places[row][cell]},${column === null ? 0 : grid.places[column][cell]}`;
      const sum = sums.get(key) ?? { total: 0, n: 0, diverged: 0, waiting: 0 };
      sum.total += grid.ended[cell] * (grid.accuracy[cell] ?? 0);
      sum.n += grid.ended[cell];
      sum.diverged += grid.diverged[cell];
      sum.waiting += grid.waiting[cell];
      sums.set(key, sum);
    }
    return sums;
  }

  return { table };
})();
