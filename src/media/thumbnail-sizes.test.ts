import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { chooseBox, fitInto } from './thumbnail-sizes.ts';

test('item 38: the standard sizes answer for themselves, and larger requests than any for the image itself', () => {
  assert.deepEqual(chooseBox('crop', { width: 32, height: 32 }), { width: 32, height: 32 });
  assert.deepEqual(chooseBox('crop', { width: 96, height: 96 }), { width: 96, height: 96 });
  for (const [width, height] of [
    [320, 240],
    [640, 480],
    [800, 600],
  ] as const) {
    assert.deepEqual(chooseBox('scale', { width, height }), { width, height });
  }
  assert.deepEqual(chooseBox('scale', { width: 321, height: 1 }), { width: 640, height: 480 });
  assert.equal(chooseBox('scale', { width: 801, height: 1 }), undefined);
});

test('item 38: a thumbnail is never larger than its image, and keeps the shape that its method promises', () => {
  const side = fc.integer({ min: 1, max: 5_000 });
  fc.assert(
    fc.property(fc.constantFrom('crop', 'scale'), side, side, side, side, (method, w, h, width, height) => {
      const image = { width, height };
      const box = { width: w, height: h };
      const fitted = fitInto(box, method, image);
      assert.ok(fitted.width <= width && fitted.height <= height && fitted.width > 0 && fitted.height > 0);
      assert.ok(fitted.width <= w && fitted.height <= h);
      const shape = method === 'crop' ? box : image;
      const error = Math.abs(fitted.width * shape.height - fitted.height * shape.width);
      assert.ok(error <= Math.max(shape.width, shape.height), `${fitted.width}x${fitted.height}`);
    }),
  );
});
