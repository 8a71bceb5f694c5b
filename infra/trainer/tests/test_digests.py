"""The digests that compare runs."""

from __future__ import annotations

from longhaul_trainer.store.digests import WeightsDigest


class TestTheDigestOfWeights:
    def test_depends_on_name_type_shape_and_bytes_not_on_order(self) -> None:
        def digest(*entries: tuple[str, str, tuple[int, ...], bytes]) -> str:
            weights = WeightsDigest()
            for entry in entries:
                weights.add(*entry)
            return weights.digest()

        a, b = ("a", "F32", (2,), b"12345678"), ("b", "F32", (1, 1), b"1234")
        assert digest(a, b) == digest(b, a)
        others = [
            (("c", *a[1:]), b),
            (("a", "I32", *a[2:]), b),
            ((*a[:2], (1, 2), a[3]), b),
            ((*a[:3], b"12345679"), b),
        ]
        assert len({digest(a, b), *(digest(*other) for other in others)}) == 5
