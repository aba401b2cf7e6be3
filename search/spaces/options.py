"""A space written as named blocks with their options: the shortest way to a space of one's own.

    class Mine(OptionSpace):
        name = "mine"
        blocks = {"kernel": (3, 5), "width": (16, 32, 64)}

        def draw(self, net, kernel, width):
            return classifier(net, conv_bn(net, net.image(), width, kernel, 2))

``blocks`` may also be given to the constructor. An architecture is spelled ``kernel=3 width=32``,
or as the mapping, or as its code.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from lwprof.errors import UsageError
from lwprof.predictors.space import Codes, Counts, one_hot
from lwprof.search.spaces.coded import CodedSpace

if TYPE_CHECKING:
    import onnx

SMALL_IMAGES: Mapping[str, Any] = {"resolution": 32, "classes": 10}
"""Drawing of the spaces for CIFAR-10."""


class OptionSpace(CodedSpace):
    """Blocks × named options.

    Attributes:
        blocks: options of every block, by the block's name; their spellings must differ.
        drawing: options of ``lwprof.zoo.draw``, such as ``resolution`` and ``classes``.

    Raises:
        UsageError: no blocks, a block without options, or options that are spelled alike.
    """

    name = "own"
    blocks: Mapping[str, Sequence[Any]] = {}
    drawing: ClassVar[Mapping[str, Any]] = {}

    def __init__(self, blocks: Mapping[str, Sequence[Any]] | None = None) -> None:
        if blocks is not None:
            self.blocks = blocks
        if not self.blocks or not all(len(options) for options in self.blocks.values()):
            raise UsageError(f"space {self.name}: give every block at least one option")
        self.choices = tuple(len(options) for options in self.blocks.values())
        self._words = [[str(option) for option in options] for options in self.blocks.values()]
        for block, words in zip(self.blocks, self._words, strict=True):
            if len(set(words)) < len(words):
                raise UsageError(f"space {self.name}: two options of {block!r} are spelled alike")
        self._places = [{word: i for i, word in enumerate(words)} for words in self._words]

    @property
    def spelling(self) -> str:
        """For messages."""
        return "as " + " ".join(f"{name}={words[0]}" for name, words in
                                zip(list(self.blocks)[:3], self._words, strict=False)) + " …"  # fmt: skip

    def _parse(self, architecture: Any) -> Sequence[int]:
        if isinstance(architecture, str):
            words = architecture.split()
            if any("=" in word for word in words):
                architecture = dict(word.split("=", 1) for word in words)
            else:
                architecture = dict(zip(self.blocks, words, strict=True))
        if isinstance(architecture, Mapping):
            if set(architecture) != set(self.blocks):
                raise ValueError
            return [places[str(architecture[name])]
                    for name, places in zip(self.blocks, self._places, strict=True)]  # fmt: skip
        if len(architecture) != len(self.choices):
            raise ValueError
        return [int(choice) for choice in architecture]

    def _write(self, code: Sequence[int]) -> str:
        rows = zip(self.blocks, self._words, code, strict=True)
        return " ".join(f"{name}={words[choice]}" for name, words, choice in rows)

    def values(self, architecture: Any) -> dict[str, Any]:
        """The options of one architecture by block, as they were given in ``blocks``."""
        code = self.encode([architecture])[0]
        return {name: options[c] for (name, options), c in
                zip(self.blocks.items(), code, strict=True)}  # fmt: skip

    def counts(self, codes: Codes, rewrite: str) -> Counts:
        """A one for every option that is chosen, after ``live``."""
        names = tuple(f"{name}={word}" for name, words in zip(self.blocks, self._words, strict=True)
                      for word in words)  # fmt: skip
        return Counts(one_hot(self.live(codes, rewrite), self.choices), names)

    def draw(self, net: Any, **values: Any) -> Any:
        """Draws the network on a ``lwprof.zoo.builder.Net`` and returns its output.

        Raises:
            UsageError: the space says nothing about how its networks are drawn.
        """
        raise UsageError(f"space {self.name} cannot build networks: write its method draw")

    def build(self, architecture: Any) -> onnx.ModelProto:
        """The architecture as an ONNX graph with seeded weights."""
        from lwprof.zoo import draw

        values = self.values(architecture)
        model: onnx.ModelProto = draw(
            lambda net: self.draw(net, **values), **{**self.drawing, **self.size(values)}
        )
        return model

    def size(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Options of ``lwprof.zoo.draw`` that depend on the architecture, such as resolution."""
        return {}
