"""How well a mask fits: one value an image, averages are the reader's explicit act; numpy and OpenCV only.

Every number is made the same way: counts or distances of one image, a written rule for empty masks, no pooling.
"""
