"""All comparators, for what each of them promises."""

import pytest

from acda import CondConv2d, DDFConv2d, DeformConv2d, DynamicConv2d, DynamicFilterConv2d, Involution2d

COMPARATORS = [CondConv2d, DynamicConv2d, DynamicFilterConv2d, DDFConv2d, Involution2d, DeformConv2d]
every_comparator = pytest.mark.parametrize("layer_class", COMPARATORS)
