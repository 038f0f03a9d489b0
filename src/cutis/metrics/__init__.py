"""How well a mask fits, a class is told, a probability is meant and a map points; numpy and OpenCV only.

Masks and maps: one value an image, a written rule for empty masks, no pooling; averages are the reader's explicit act.
Classes: the confusion matrix first, any measure after.
"""
